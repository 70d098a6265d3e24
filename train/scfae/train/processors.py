"""What processes are given that share a machine's processors with others of ours."""

import os
from typing import Final

_SHARING: Final = {"OMP_WAIT_POLICY": "passive"}


def sharing_environment() -> dict[str, str]:
    """Return the environment of a process that is not alone on its machine.

    OpenMP's threads spin where they wait for each other, which takes the processor from whoever has
    work. Two trainings of two threads each on two cores so took 30.7 s in place of 12.7 s
    (Perceiver, 3 epochs; 12.3 s with one thread each). What is computed is the same to the last
    bit, which it would not be with fewer threads. What the user's environment says stays.
    """
    return _SHARING | os.environ
