"""Batch buffers that are used again once nobody holds the batch.

A fresh buffer of some MB is fresh pages, each zeroed by the kernel at its first byte; one that was
written before costs nothing. A tensor made of a numpy array keeps that array alive until the last
view of its storage is gone, so a weak reference to the array tells exactly whether the consumer
still has any part of the batch, however it was sliced.
"""

import math
import threading
import weakref
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Buffers(Protocol):
    """Where a batch's features are put."""

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Tensor, npt.NDArray[Any]]:
        """Return an uninitialised tensor and the array over the same memory."""


class _Slot:
    def __init__(self, num_bytes: int) -> None:
        self.memory = np.empty(num_bytes, dtype=np.uint8)
        self._lease: weakref.ref[npt.NDArray[Any]] | None = None

    @property
    def is_free(self) -> bool:
        return self._lease is None or self._lease() is None

    def lend(self, shape: tuple[int, ...], dtype: np.dtype[Any], num_bytes: int) -> Any:
        array = self.memory[:num_bytes].view(dtype).reshape(shape)
        self._lease = weakref.ref(array)
        return array


class BufferRing:
    """Lends uninitialised arrays; each is taken back when its tensor and all views are gone.

    Args:
        depth: How many buffers are kept; more may be lent at a time, which are then fresh.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._slots: list[_Slot] = []
        # The thread of an iteration that was broken off may still finish its last read.
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Tensor, npt.NDArray[Any]]:
        """Return an uninitialised tensor and the array over the same memory, to fill it.

        Args:
            shape: Of both.
            dtype: Of both.
        """
        with self._lock:
            array = self._array(shape, dtype)
        return torch.from_numpy(array), array

    def _array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        num_bytes = math.prod(shape) * dtype.itemsize
        free = [slot for slot in self._slots if slot.is_free]
        for slot in free:
            if slot.memory.nbytes >= num_bytes:
                return slot.lend(shape, dtype, num_bytes)  # type: ignore[no-any-return]
        if free:
            self._slots.remove(free[0])  # too small; the next batches may be as large as this one
        if len(self._slots) == self._depth:
            return np.empty(shape, dtype)
        # Pages that are never written cost nothing, and the next batch may be a little longer.
        self._slots.append(_Slot(num_bytes + num_bytes // 8))
        return self._slots[-1].lend(shape, dtype, num_bytes)  # type: ignore[no-any-return]


class FreshBuffers:
    """Allocates each tensor anew, in page-locked memory.

    That comes from an allocator of torch's, which keeps blocks and waits for copies to a GPU that
    are still under way, before it gives one out again.
    """

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Tensor, npt.NDArray[Any]]:
        """Return an uninitialised page-locked tensor and the array over the same memory."""
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        tensor = torch.empty(shape, dtype=kind, pin_memory=True)
        return tensor, tensor.numpy()
