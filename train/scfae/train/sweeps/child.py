"""One run of a sweep in a process of its own: `python -m scfae.train.sweeps.child`, by `children`.

The order comes as one JSON line on stdin, the outcome goes as one to stdout. When stdin closes, the
sweep is gone: then this process asks itself to stop, which leaves a checkpoint.
"""

import io
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from scfae.store.errors import ScfaeError


def main() -> int:
    """Run the cell that stdin names; return the exit status."""
    order = json.loads(io.FileIO(0, closefd=False).readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()

    from ..config import load_config
    from ..runs import Interrupted
    from .plan import Cell
    from .running import run_cell, sentence

    try:
        config = load_config(None, order["config"])
        run_cell(Cell(order["name"], {}, config.loop.seed, config), order["bootstrap"])
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.signum
    except Exception as error:
        if not isinstance(error, ScfaeError):
            traceback.print_exc()
        return _answer({"failure": sentence(error)}, 1)
    return _answer({"failure": None}, 0)


def _answer(outcome: dict[str, Any], status: int) -> int:
    print(json.dumps(outcome), flush=True)
    return status


def _stop_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
