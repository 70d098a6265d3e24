"""What a job's process runs: `python -m scfae.cli.job FOLDER`, started by a worker, not typed.

It runs the job's command in this process and writes down how that ended, so that a worker which is
not its parent can tell too.
"""

import os
import sys
import traceback
from pathlib import Path

from scfae.service.folder import JobFolder
from scfae.service.processes import process_of
from scfae.service.states import ACTIVE

from .main import fail, main


def run_job(folder: JobFolder, attempt: int) -> int:
    """Run a job's command; return its exit status.

    Args:
        folder: The job's.
        attempt: The start of the job that this process was made for.
    """
    with folder.held() as is_held:
        if not is_held:
            # No end of the job's own is written down: it counts as an interruption.
            return fail("another process does this job.", 1)
        folder.write_process(attempt, process_of(os.getpid()))
        record = folder.record()
        if record.attempt != attempt or record.state not in ACTIVE:
            return fail(f"attempt {attempt} was given up before it began.", 1)
        status = _run(folder)
        folder.write_exit(attempt, status)
    return status


def _run(folder: JobFolder) -> int:
    job = folder.submitted().request.job
    for words in (job.words(folder.path), *job.then(folder.path)):
        status = _command(words)
        if status:
            return status
    return 0


def _command(words: list[str]) -> int:
    print(f"scfae {' '.join(words)}", file=sys.stderr, flush=True)
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(run_job(JobFolder(Path(sys.argv[1])), int(sys.argv[2])))
