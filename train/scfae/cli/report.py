"""`scfae report`: a run's report.html again, or one that compares several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse

NUM_EXAMPLES = 6
EXAMPLE = """\
  scfae report runs/first
  scfae report runs/first --examples 12 --media-root clips/
  scfae report runs/first runs/second --out comparison.html
  scfae report sweeps/grid --out grid.html
"""


@dataclass(frozen=True)
class ReportArguments:
    """Write one self-contained page about a run, or one that compares runs side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders of sweeps for their runs; several are put side by side."""
    out: Path | None = None
    """Where to write; RUN/report.html for one run, comparison.html for several."""
    examples: int = NUM_EXAMPLES
    """Test samples to show of a run: the worst errors, or queries of a retrieval; 0 shows none."""
    no_media: bool = False
    """Show them without pictures, sound and text."""
    media_root: Path | None = None
    """Folder that the store's media references are relative to (the manifest's); looked for beside
    the store if not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ReportArguments, "scfae report", argv, EXAMPLE)
    if not flags.runs:
        raise ConfigError("runs: name at least one run folder.")
    if flags.examples < 0:
        raise ConfigError(f"--examples {flags.examples}: must be at least 0.")

    from scfae.train import Examples, named_runs, write_comparison, write_report

    runs = named_runs(flags.runs)
    is_plain = (flags.examples, flags.no_media, flags.media_root) == (NUM_EXAMPLES, False, None)
    if len(runs) > 1 and not is_plain:
        raise ConfigError(
            "--examples, --no-media and --media-root are of the report of one run; a page that "
            "compares runs shows no samples."
        )

    if len(runs) == 1:
        examples = Examples(flags.examples, not flags.no_media, flags.media_root)
        print(write_report(runs[0], examples=examples, out=flags.out))
    else:
        print(write_comparison(runs, flags.out or Path("comparison.html")))
    return 0
