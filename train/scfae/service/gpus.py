"""GPUs of the server's machine, as NVML tells, where it can be asked; there need not be any."""

import threading
import time
from collections import deque
from importlib import import_module
from typing import Any, Final

from scfae.store.config import Frozen

EVERY_S: Final = 15.0
KEPT: Final = 240
"""Figures kept of each: of an hour."""


class Gpu(Frozen):
    """A GPU now.

    Attributes:
        index: Its number.
        name: Of the model.
        used_bytes: Of its memory.
        total_bytes: Of its memory.
        busy: Share of the last moment in which it computed, 0 to 1.
        temperature_c: In degrees Celsius.
        history: Seconds since 1970, share of memory used and share of time busy, of the last hour.
    """

    index: int
    name: str
    used_bytes: int
    total_bytes: int
    busy: float
    temperature_c: float | None = None
    history: tuple[tuple[float, float, float], ...] = ()


class GpuMeter:
    """Asks NVML.

    Args:
        nvml: The module `pynvml`; None for a machine without it.
    """

    def __init__(self, nvml: Any | None) -> None:
        self._nvml = nvml
        self._lock = threading.Lock()
        self._past: dict[int, deque[tuple[float, float, float]]] = {}

    @classmethod
    def here(cls) -> "GpuMeter":
        """Return the meter of this machine."""
        try:
            nvml = import_module("pynvml")
        except ModuleNotFoundError:
            return cls(None)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return cls(None)  # no driver
        return cls(nvml)

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs there are."""
        nvml = self._nvml
        if nvml is None:
            return ()
        with self._lock:
            return tuple(self._gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))

    def watch(self, stopping: threading.Event) -> None:
        """Look every now and then, for the history, until the server ends."""
        while self._nvml is not None and not stopping.wait(EVERY_S):
            self.gpus()

    def _gpu(self, nvml: Any, index: int) -> Gpu:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        name = nvml.nvmlDeviceGetName(handle)
        past = self._past.setdefault(index, deque(maxlen=KEPT))
        now = time.time()
        if not past or now - past[-1][0] >= EVERY_S / 2:
            past.append((now, memory.used / memory.total, busy))
        try:
            temperature = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        except nvml.NVMLError:
            temperature = None
        return Gpu(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name),
            used_bytes=int(memory.used),
            total_bytes=int(memory.total),
            busy=busy,
            temperature_c=temperature,
            history=tuple(past),
        )
