"""Real extractions by processes that start in an instant: `python FILE ENCODER…`, told on stdin.

Encoders are loaded once; each line `LOG WORDS…` forks a process that runs `scfae extract WORDS…`
and writes down its events as `extract_worker` does. Its number is printed, and then how it ended.
"""

import json
import os
import sys

from tests.fault.extract_worker import record

from scfae.cli import main
from scfae.extract import load_encoders, preparation


def serve(encoders: list[str]) -> None:
    """Fork a process for each line of stdin."""
    loaded = {text: load_encoders(text) for text in encoders}
    preparation.__dict__["load_encoders"] = lambda name, **others: loaded[name]
    print("ready", flush=True)
    for line in sys.stdin:
        log, *words = json.loads(line)
        pid = os.fork()
        if pid == 0:
            record(log)
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
            os._exit(main(["extract", *words]))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])
