"""A run's fusion model as one file that runs without scfae: `torch.export` (.pt2) or ONNX.

The graph holds the standardisation, the fusion method, the head and, where the run's evaluation
found one, the temperature. Inputs are features as a store gives them; outputs are `logits`, and
`scores` as the task reads them with all modalities asked for; a run of retrieval has an
`embedding.MODALITY` each instead. What the file is, is written in it: modalities and their widths,
the task with its classes, and the provenance of every column.

A `.pt2` is a zip of JSON and plain tensors, but may hold pickles: `load_export` looks before it
loads, and refuses a file that does. Batch size and numbers of rows are free where the method's
trace allows it; else the batch is one sample.

Shapes: B samples, M modalities, T rows, D features.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from scfae.store.atomic import write_atomic
from scfae.store.errors import CheckpointError, ConfigError, ExportError

from .calibrated import run_temperature
from .loading import LoadedRun, load_run

FORMAT: Final = 1
METADATA: Final = "scfae.json"
_BATCH, _ROWS = 3, 4
_PICKLED: Final = ("custom_obj", "opaque_obj")

Batch = tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]
"""Features `[B, T, D]` by modality, presence `[B, M]`, lengths `[B]` by modality."""


class ExportedModel(nn.Module):
    """A run's model with plain inputs and outputs.

    Args:
        loaded: The run.
        temperature: What logits are divided by.
    """

    def __init__(self, loaded: LoadedRun, temperature: float | None) -> None:
        super().__init__()
        self.model = loaded.model
        self.task = loaded.task
        self.modalities = tuple(loaded.columns)
        self.temperature = temperature or 1.0

    def forward(
        self, features: dict[str, Tensor], present: Tensor, lengths: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the outputs by name; see the module's docstring."""
        output = self.model(features, present, lengths)
        if output.logits is None:
            return {f"embedding.{m}": output.shared_from[m] for m in self.modalities}
        logits = output.logits / self.temperature
        scores = self.task.scores(replace(output, logits=logits), self.modalities)
        return {"logits": logits, "scores": scores}


def export_run(
    run: str | Path,
    out: str | Path | None = None,
    *,
    form: Literal["pt2", "onnx"] | None = None,
) -> dict[str, Any]:
    """Write a run's selected model as one file.

    Args:
        run: The run folder.
        out: The file; `model.pt2` or `model.onnx` in the run folder if None.
        form: `pt2` or `onnx`; as the suffix of `out` says if None, else `pt2`.

    Returns:
        The metadata that the file holds, with its place as `path`.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ExportError: If the method cannot be traced, reads whole dialogues, or what is written
            answers otherwise.
        ConfigError: If the form or the suffix is neither, or ONNX is not installed.
    """
    loaded = load_run(run)
    path, chosen = _place(loaded, out, form)
    if loaded.config.loop.group_batches:
        raise ExportError(
            f"{loaded.config.model.fusion} was trained on whole dialogues (group_batches), and an "
            "exported model takes samples one by one: its answers would be others."
        )
    if loaded.config.model.encoders:
        raise ExportError(
            f"{loaded.run.path} trains its encoders ({', '.join(loaded.config.model.encoders)}), "
            "which are not exported: scfae predict runs them on media."
        )
    temperature = run_temperature(loaded.run)
    model = ExportedModel(loaded, temperature).eval()
    program, is_batched = _traced(model, loaded)
    metadata = _metadata(loaded, temperature, is_batched=is_batched)
    if chosen == "pt2":
        buffer = io.BytesIO()
        program.example_inputs = None
        _own_memory(program)
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
        _refuse_pickles(buffer, path)
        data = buffer.getvalue()
    else:
        from .onnx_form import to_onnx

        dims = {modality: info.dim for modality, info in loaded.columns.items()}
        batch = example_batch(dims, 2 if is_batched else 1, _ROWS + 1, seed=3)
        data = to_onnx(program, model, batch, metadata)
    write_atomic(path, data)
    return metadata | {"path": str(path), "form": chosen, "bytes": len(data)}


def _own_memory(program: ExportedProgram) -> None:
    """Give each weight memory of its own: branches of equal widths lie side by side in one."""
    for tensors in (program.state_dict, program.constants):
        for name, x in tensors.items():
            if isinstance(x, nn.Parameter):
                tensors[name] = nn.Parameter(x.detach().clone(), requires_grad=x.requires_grad)
            elif isinstance(x, Tensor):
                tensors[name] = x.clone()


def load_export(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model of a `.pt2` and its metadata, without running anything that it names.

    Raises:
        CheckpointError: If it is none of ours, damaged, or holds pickles.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no exported model {path}.")
    data = io.BytesIO(path.read_bytes())
    _refuse_pickles(data, path)
    extra = {METADATA: ""}
    try:
        program = torch.export.load(data, extra_files=extra)
        metadata = json.loads(extra[METADATA])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no model that scfae exported: {error}") from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no model that this scfae exported.")
    return program.module(), metadata


def _place(
    loaded: LoadedRun, out: str | Path | None, form: str | None
) -> tuple[Path, Literal["pt2", "onnx"]]:
    suffix = None if out is None else Path(out).suffix.removeprefix(".")
    chosen = form or suffix or "pt2"
    if chosen not in ("pt2", "onnx") or (suffix is not None and suffix != chosen):
        raise ConfigError(f"OUT: {out} must end in .pt2 or .onnx, as --format says.")
    path = loaded.run.path / f"model.{chosen}" if out is None else Path(out)
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"OUT: there is no folder {path.resolve().parent} to write it in.")
    if chosen == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise ConfigError("--format onnx: needs the extra: pip install 'scfae[onnx]'.")
    return path, "onnx" if chosen == "onnx" else "pt2"


def example_batch(dims: Mapping[str, int], size: int, rows: int, *, seed: int = 0) -> Batch:
    """Return a batch of noise with ragged lengths; the first sample has everything.

    Args:
        dims: Width of each modality.
        size: Samples, B.
        rows: Rows of the first modality, T; each further one has one more.
        seed: Of the numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    features, lengths = {}, {}
    for place, (modality, dim) in enumerate(dims.items()):
        steps = rows + place
        features[modality] = torch.randn(size, steps, dim, generator=generator)
        lengths[modality] = (torch.arange(size) % steps) + 1
    present = torch.rand(size, len(dims), generator=generator) < 0.6
    present[:, 0] = True
    present[0] = True
    return features, present, lengths


@torch.no_grad()
def _traced(model: ExportedModel, loaded: LoadedRun) -> tuple[ExportedProgram, bool]:
    """Return the traced model, and whether any batch size may be given to it."""
    dims = {modality: info.dim for modality, info in loaded.columns.items()}
    why = ""
    for is_batched in (True, False):
        batch = example_batch(dims, _BATCH if is_batched else 1, _ROWS)
        size = {0: Dim("batch", min=1)} if is_batched else {}
        shapes = (
            {m: {**size, 1: Dim(f"rows_{i}", min=1)} for i, m in enumerate(dims)},
            size,
            {m: dict(size) for m in dims},
        )
        try:
            with warnings.catch_warnings():
                # What torch says of its own LSTM, whose weights lie in one buffer.
                warnings.filterwarnings("ignore", message=".*assigned during export")
                warnings.filterwarnings("ignore", message="The tensor attributes? ")
                program = torch.export.export(model, batch, dynamic_shapes=shapes, strict=False)
            _check(program.module(), model, dims, is_batched=is_batched)
            return program, is_batched
        except Exception as error:  # torch reports what it cannot trace as a dozen kinds
            why = " ".join(str(error).split())[:200]
    name = loaded.config.model.fusion
    raise ExportError(f"{name} cannot be exported: torch.export does not trace it ({why}).")


def _check(
    program: nn.Module, model: nn.Module, dims: Mapping[str, int], *, is_batched: bool
) -> None:
    """Compare a program with the model on batches of other sizes.

    Raises:
        ExportError: If their answers differ.
    """
    for seed, (size, rows) in enumerate(((5, 7), (1, 2)) if is_batched else ((1, 7), (1, 2))):
        batch = example_batch(dims, size, rows, seed=seed + 1)
        wanted, found = model(*batch), program(*batch)
        for name, values in wanted.items():
            if not torch.allclose(found[name], values, rtol=1e-4, atol=1e-5):
                gap = float((found[name] - values).abs().max())
                raise ExportError(f"{name} of the exported model differs by {gap:.2g}")


def _metadata(loaded: LoadedRun, temperature: float | None, *, is_batched: bool) -> dict[str, Any]:
    has_head = loaded.task.num_outputs is not None
    embeddings = [f"embedding.{modality}" for modality in loaded.columns]
    return {
        "format": FORMAT,
        "scfae": version("scfae"),
        "torch": torch.__version__,
        "run": loaded.run.path.resolve().name,
        "fusion": loaded.config.model.fusion,
        "options": loaded.config.model.options,
        "task": loaded.task.as_dict(),
        "modalities": list(loaded.columns),
        "inputs": {
            "features": {m: ["B", "T", info.dim] for m, info in loaded.columns.items()},
            "present": ["B", len(loaded.columns)],
            "lengths": {m: ["B"] for m in loaded.columns},
        },
        "outputs": ["logits", "scores"] if has_head else embeddings,
        "batch": "any" if is_batched else 1,
        "temperature": temperature,
        "standardised": loaded.config.model.standardise,
        "columns": {m: info.model_dump(mode="json") for m, info in loaded.columns.items()},
        "checkpoint": {"epoch": loaded.epoch, "step": loaded.step},
        "config_sha256": loaded.config.digest(),
    }


def _refuse_pickles(data: io.BytesIO, path: Path) -> None:
    """Look through an archive for what would be unpickled.

    Raises:
        CheckpointError: If there is any, or it is no archive.
    """
    data.seek(0)
    try:
        with zipfile.ZipFile(data) as archive:
            for name in archive.namelist():
                base = name.rpartition("/")[2]
                is_config = "/data/" in f"/{name}" and base.endswith("_config.json")
                # torch loads example inputs as any pickle where they are no tensors; ours are none.
                is_pickle = base.endswith((".pkl", ".pt")) and archive.getinfo(name).file_size
                if is_pickle or base.startswith(_PICKLED):
                    raise CheckpointError(f"{path} holds the pickle {name!a}, which is not loaded.")
                if is_config and _has_pickle(json.loads(archive.read(name))):
                    raise CheckpointError(f"{path} holds tensors as pickles, which are not loaded.")
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is no exported model: {error}") from None
    data.seek(0)


def _has_pickle(document: Any) -> bool:
    if isinstance(document, dict):
        if document.get("use_pickle") is not None and document["use_pickle"] is not False:
            return True
        if str(document.get("path_name", "")).startswith(_PICKLED):
            return True
        return any(map(_has_pickle, document.values()))
    return isinstance(document, list) and any(map(_has_pickle, document))
