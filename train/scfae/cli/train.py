"""`scfae train`: a config in, a run folder out; the same command again goes on with the run."""

from collections.abc import Sequence

from scfae.train.arguments import ResumeRequest, parse_train_args

from .arguments import print_json, say
from .interrupt import Stopped
from .progress import Progress


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    wants_json = "--json" in argv
    request = parse_train_args([word for word in argv if word != "--json"])

    from scfae.train import Interrupted, RunFolder, train

    try:
        with Progress("train", "steps") as progress:
            if isinstance(request, ResumeRequest):
                config = RunFolder(request.run).config
                finished = train(config, resume=True, progress=progress)
            else:
                finished = train(request, progress=progress)
    except Interrupted as stop:
        raise Stopped(str(stop), stop.signum) from None
    say(finished.summary())
    if wants_json:
        print_json(finished.state())
    return 0
