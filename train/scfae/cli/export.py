"""`scfae export`: a run's fusion model as one file that runs without scfae."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .arguments import parse, print_json, say

EXAMPLE = """\
  scfae export runs/first                              # runs/first/model.pt2, for torch.export.load
  scfae export runs/first model.onnx                   # needs: pip install 'scfae[onnx]'

Features go in as a store gives them, logits and scores come out; standardisation and temperature
are in the graph. From Python: model, metadata = scfae.train.load_export("runs/first/model.pt2")
"""


@dataclass(frozen=True)
class ExportArguments:
    """Write a run's selected fusion model, with its metadata, as one file; compare it first."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    out: Annotated[Path | None, tyro.conf.Positional] = None
    """The file, .pt2 or .onnx; model.pt2 in the run folder if not given."""
    format: Literal["pt2", "onnx"] | None = None
    """torch.export's archive or ONNX; as the suffix of OUT says if not given."""
    json: bool = False
    """What was written, with all metadata, as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ExportArguments, "scfae export", argv, EXAMPLE)

    from scfae.train import export_run

    written = export_run(flags.run, flags.out, form=flags.format)
    batch = "any batch size" if written["batch"] == "any" else "one sample a call"
    say(
        f"{written['path']}: {written['fusion']}, {', '.join(written['modalities'])} -> "
        f"{', '.join(written['outputs'])}; {batch}; {written['bytes']} bytes"
    )
    if flags.json:
        print_json(written)
    return 0
