"""`scfae train`: a config in, a run folder out; the same command again goes on with the run."""

import os
from collections.abc import Sequence
from contextlib import nullcontext

from scfae.store.errors import ConfigError
from scfae.train.arguments import ResumeRequest, parse_train_args
from scfae.train.config import RunConfig

from .arguments import print_json, say
from .interrupt import Stopped
from .progress import Progress


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    wants_json, is_dry = "--json" in argv, "--dry-run" in argv
    request = parse_train_args([word for word in argv if word not in ("--json", "--dry-run")])
    if is_dry:
        return _dry_run(request, wants_json)

    from scfae.train import Interrupted, RunFolder, train

    is_first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts
    try:
        with Progress("train", "steps") if is_first else nullcontext() as progress:
            if isinstance(request, ResumeRequest):
                config = RunFolder(request.run).config
                finished = train(config, resume=True, progress=progress)
            else:
                finished = train(request, progress=progress)
    except Interrupted as stop:
        raise Stopped(str(stop), stop.signum) from None
    if is_first:
        say(finished.summary())
    if is_first and wants_json:
        print_json(finished.state())
    return 0


def _dry_run(request: RunConfig | ResumeRequest, wants_json: bool) -> int:
    if isinstance(request, ResumeRequest):
        raise ConfigError("--dry-run is for a new training: leave out --resume.")

    from scfae.train import Interrupted
    from scfae.train.dry_run import dry_run

    try:
        found = dry_run(request)
    except Interrupted as stop:
        raise Stopped("stopped; a dry run leaves nothing behind.", stop.signum) from None
    if wants_json:
        print_json(found.model_dump(mode="json"))
    else:
        print(found.summary())
    return 0
