"""A traced model as ONNX, checked by ONNX's own reference evaluator; the extra `onnx` brings both.

Inputs are named `features.MODALITY`, `present` and `lengths.MODALITY`; the metadata of the file is
the property `scfae`.
"""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from scfae.store.errors import ExportError

_TOLERANCE = 1e-3


def to_onnx(
    program: ExportedProgram,
    model: nn.Module,
    batch: tuple[dict[str, Tensor], Tensor, dict[str, Tensor]],
    metadata: Mapping[str, Any],
) -> bytes:
    """Return the bytes of an ONNX model.

    Args:
        program: The traced model.
        model: The model itself.
        batch: What both are asked, to compare.
        metadata: Kept in the file.

    Raises:
        ExportError: If a step of the method has no ONNX form, or the answers differ.
    """
    from onnx import load_from_string
    from onnx.reference import ReferenceEvaluator

    features, present, lengths = batch
    named = {f"features.{m}": x for m, x in features.items()} | {"present": present}
    named |= {f"lengths.{m}": x for m, x in lengths.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter: about its own versions and names
        try:
            made = torch.onnx.export(
                program,
                input_names=list(named),
                output_names=list(metadata["outputs"]),
                dynamo=True,
                verbose=False,
            )
            assert made is not None
            made.model.metadata_props["scfae"] = json.dumps(metadata)
            data: bytes = made.model_proto.SerializeToString()
        except Exception as error:  # the converter reports what it has no form for as many kinds
            why = " ".join(str(error).split())[:200]
            raise ExportError(f"{metadata['fusion']} has no ONNX form ({why}).") from None
        wanted = model(features, present, lengths)
        given = {name: np.asarray(x) for name, x in named.items()}
        evaluator = ReferenceEvaluator(load_from_string(data))
        used = {name: given[name] for name in evaluator.input_names}
        found = dict(zip(evaluator.output_names, evaluator.run(None, used), strict=True))
    for name, values in wanted.items():
        gap = float(np.abs(found[name] - values.numpy()).max())
        if not gap <= _TOLERANCE:
            raise ExportError(
                f"{metadata['fusion']} as ONNX gives {name} that differ by {gap:.2g}."
            )
    return data
