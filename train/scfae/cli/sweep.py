"""`scfae sweep`: many runs into one folder; the same command again goes on with what is left."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scfae.train.sweeps.arguments import parse_sweep_args

from .arguments import print_json, say
from .interrupt import Stopped
from .progress import Progress

if TYPE_CHECKING:
    from scfae.train.sweeps.plan import Cell


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status: 1 if a run has failed."""
    request = parse_sweep_args(argv)

    from scfae.train import RunFolder, SweepInterrupted, resume_sweep, run_plan

    def tell(cell: "Cell", failure: str | None) -> None:
        if failure is not None:
            say(f"{cell.name}: failed: {failure}")
        else:
            say(RunFolder(cell.config.loop.run).summary())

    try:
        with Progress("sweep", "runs") as progress:
            how = {"jobs": request.jobs, "bootstrap": request.bootstrap}
            if request.plan is None:
                result = resume_sweep(request.folder, **how, tell=tell, progress=progress)
            else:
                result = run_plan(request.plan, request.folder, **how, tell=tell, progress=progress)
    except SweepInterrupted as stop:
        raise Stopped(str(stop), stop.signum) from None
    if request.json:
        print_json(result.as_dict())
    else:
        print(result.text())
    page = Path(result.path) / "comparison.html"
    if page.exists():
        say(f"report: {page}")
    if result.failed:
        say(
            f"scfae: {len(result.failed)} of {len(result.runs)} runs failed: mend what they say; "
            "the same command tries them again, and only them."
        )
    return 1 if result.failed else 0
