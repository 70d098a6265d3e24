"""`scfae train`: a config in, a run folder out; the same command again goes on with the run."""

import os
from collections.abc import Sequence
from contextlib import nullcontext

from scfae.train.arguments import ResumeRequest, parse_train_args

from .arguments import print_json, say
from .interrupt import Stopped
from .progress import Progress


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    wants_json = "--json" in argv
    request = parse_train_args([word for word in argv if word != "--json"])

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
