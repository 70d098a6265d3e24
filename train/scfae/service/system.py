"""The state of a service: queue, workers, disk, GPUs."""

from scfae.store.config import Frozen

from .disk import Disk
from .gpus import Gpu
from .roster import WorkerRecord


class System(Frozen):
    """A service now.

    Attributes:
        counts: Jobs in each state.
        oldest_wait_s: How long the oldest waiting job has waited, in seconds.
        num_slots: Jobs that all workers can do at a time.
        workers: Those that live.
        disk: What takes it.
        gpus: Of the server's machine; none where NVML cannot be asked.
    """

    counts: dict[str, int]
    oldest_wait_s: float
    num_slots: int
    workers: tuple[WorkerRecord, ...]
    disk: Disk
    gpus: tuple[Gpu, ...]
