"""The decoding child: `python -m scfae.extract.decoder_child FD`, fed requests by its parent.

A crash or a hang of a decoder stays in here; the parent kills and replaces the child. It ends when
its parent does, also when the parent was killed in the middle of a file.
"""

import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

_PARENT_CHECK_S = 0.5


def main(descriptor: int, parent: int) -> None:
    """Answer requests until the parent closes the connection.

    Args:
        descriptor: File descriptor of a duplex connection.
        parent: Process id of the parent.
    """
    # Ctrl-C reaches the whole process group; stopping is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, args=(parent,), daemon=True).start()
    from .decoders import prepare
    from .media import Decoded, Fate, decode
    from .memory_limit import memory_limit

    connection = Connection(descriptor)
    while True:
        try:
            path, recipes, limits, decoder = connection.recv()
            prepare(decoder)
            connection.send(None)  # everything is imported: the file's time begins
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        try:
            with memory_limit(limits.max_memory_bytes):
                decoded = decode(path, recipes, limits, emit=connection.send, decoder=decoder)
        except (BrokenPipeError, ConnectionResetError):
            return
        except MemoryError:
            megabytes = (limits.max_memory_bytes or 0) >> 20
            reason = f"decoding took more than {megabytes} MB of memory (--max-memory): {path}"
            decoded = Decoded({name: Fate("failed", reason) for name in recipes})
        except Exception as error:  # of a recipe, most likely: it costs the file and says why
            traceback.print_exc()
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            reason = f"decoding failed ({why}): {path}"
            decoded = Decoded({name: Fate("failed", reason) for name in recipes})
        try:
            connection.send(decoded)
        except (BrokenPipeError, ConnectionResetError):
            return


def watch(parent: int) -> None:
    """End this process when its parent has ended.

    Args:
        parent: Its process id.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
