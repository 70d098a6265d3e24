"""Dispatch: `scfae COMMAND …` to the module of that command, errors to one sentence and a status.

Nothing heavy is imported here: `scfae --help` must start in under half a second, so a command's
module, and with it torch, is imported only when that command runs.

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but more inputs were
quarantined than allowed; 130 / 143 stopped by Ctrl-C / SIGTERM.
"""

import atexit
import difflib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from scfae.store.errors import ScfaeError

from .interrupt import Stopped


class Command(NamedTuple):
    """One command: the module that runs it, the line that describes it, and its function there."""

    module: str
    summary: str
    function: str = "run"


COMMANDS: dict[str, Command] = {
    "demo": Command("demo", "the whole system on real input, in minutes: ends with a report.html"),
    "encoders": Command("encoders", "every encoder, its weights, licence, and whether it is here"),
    "fusions": Command(
        "fusions", "every fusion method: the paper's row, its source, what it needs"
    ),
    "data": Command("data", "official data sets on disk: their layouts become manifests or stores"),
    "extract": Command("extract", "run encoders over media into a feature store; resumes itself"),
    "store": Command("store", "what a store holds, whether it is whole; derive, diff, drop, gc …"),
    "train": Command("train", "train a fusion model on chosen columns into a run folder"),
    "sweep": Command("sweep", "train many runs into one folder: seeds, grids; means over seeds"),
    "evaluate": Command("evaluate", "metrics of a run for every subset of present modalities"),
    "compare": Command("compare", "differences of runs to the first, by a paired bootstrap"),
    "analyse": Command("analyse", "a run's gradients, shared and specific parts, contributions"),
    "probe": Command("probe", "each encoder that a run trained, by itself; what fusion did to it"),
    "reproduce": Command("reproduce", "tables of the paper, printed figures beside measured ones"),
    "study": Command("study", "where SCFAE helps and where not: every method tuned alike"),
    "predict": Command("predict", "raw media -> the run's own encoders -> predictions"),
    "export": Command("export", "a run's fusion model as one .pt2 or .onnx that runs elsewhere"),
    "bench": Command("bench", "loader: the store's speed beside its peers', as ratios in one run"),
    "serve": Command("serve", "the training service: HTTP API and queue, with a worker beside it"),
    "worker": Command("worker", "run the jobs of a training service, each in a process of its own"),
    "submit": Command(
        "submit", "a job for a training service: settings in YAML, or a request in JSON"
    ),
    "runs": Command("runs", "the jobs of a training service, or one with its history"),
    "logs": Command("runs", "what a job's processes have printed", "run_logs"),
    "cancel": Command("runs", "have a job save and stop", "run_cancel"),
    "resume": Command("runs", "queue a failed or cancelled job again", "run_resume"),
    "promote": Command("models", "make a run the next version of a model", "run_promote"),
    "models": Command("models", "the models of a training service, or the versions of one"),
    "service": Command("service", "what a service folder needs now and then: reindex"),
    "report": Command("report", "write a run's report.html again, or one comparing several runs"),
}

EPILOGUE = """\
first steps
  scfae demo                                            # everything, on real input
  scfae extract clips/ features/ -e efficientnet-lite0 -e ge2e
  scfae store status features/
  scfae train --store features/ --columns video=efficientnet-lite0 audio=ge2e \\
      --label digit --run runs/first
  scfae evaluate runs/first

Each command has --help with a worked example. --debug shows tracebacks.
"""


def usage() -> str:
    """Return the text of `scfae --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: scfae [--debug] COMMAND …",
            "",
            "Encoder features extracted once, kept as swappable columns of a store,",
            "and fused by SCFAE and its peers.",
            "",
            "commands",
            *lines,
            "",
            EPILOGUE,
        ]
    )


def version() -> str:
    """Return the installed version of scfae."""
    from importlib.metadata import version as installed

    return installed("scfae")


def fail(message: str, status: int) -> int:
    """Print one sentence to stderr and return the exit status."""
    print(f"scfae: {message}", file=sys.stderr)
    return status


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of ours as one sentence: whose line of code it is, is no user's concern."""
    if issubclass(category, UserWarning):
        print(f"scfae: {message}", file=file or sys.stderr)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(text, file=file or sys.stderr, end="")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    # The interpreter's last search for cycles takes most of a second where torch was imported, and
    # frees what the system is about to take anyway.
    atexit.register(gc.freeze)
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
        return _dispatch(arguments, debug=True)
    with warnings.catch_warnings():  # an `error` of a test's filter stays one
        warnings.showwarning = show_warning
        return _dispatch(arguments, debug=False)


def _dispatch(arguments: list[str], *, debug: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"scfae {version()}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return fail(f"there is no command '{name}'.{hint} See scfae --help.", 2)
    try:
        command = COMMANDS[name]
        module = importlib.import_module(f".{command.module}", __package__)
        status = getattr(module, command.function)(rest)
        sys.stdout.flush()  # a closed pipe must show here, not in the interpreter's exit
        return int(status)
    except ScfaeError as error:
        if debug:
            raise
        return fail(str(error), error.exit_status)
    except Stopped as stop:
        return fail(str(stop), 128 + stop.signum)
    except KeyboardInterrupt:
        return fail("stopped by Ctrl-C.", 130)
    except BrokenPipeError:
        # The reader of stdout (head, less) has gone; keep the interpreter from complaining too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        return fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), 1)
