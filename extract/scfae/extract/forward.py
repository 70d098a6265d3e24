"""Forward passes of one encoder: device, precision, memory layout, and what to do out of memory.

A batch that does not fit is halved until it does, and what did not fit is remembered for its shape,
so that only the first such batch is tried in vain. On CUDA a batch is composed in pinned memory and
copied on a stream of its own while the one before is computed; rows come back the same way.

Autocast covers the network alone: what `prepare` computes (scaling, spectrograms) stays float32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scfae.store.errors import EncoderError

from .compute import Compute
from .encoder import Encoder

Rows = npt.NDArray[np.float32]
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Forward:
    """Gives the rows of batches of windows; keep one for each encoder.

    Args:
        encoder: Who encodes; its network is changed in place as `compute` says.
        compute: How.

    Attributes:
        notices: What a person should know, one sentence each.
    """

    def __init__(self, encoder: Encoder, compute: Compute | None = None) -> None:
        compute = compute or Compute()
        self.encoder = encoder
        self.notices: list[str] = []
        self._autocast = _AUTOCAST.get(compute.precision)
        self._is_cuda = encoder.device.type == "cuda"
        self._ceilings: dict[tuple[int, ...], int] = {}
        self._copying: Any = None
        if self._is_cuda:
            self._copying = torch.cuda.Stream(encoder.device)  # type: ignore[no-untyped-call]
        if self._is_cuda:
            allow_tf32(compute.tf32)
        if compute.channels_last:
            to_channels_last(encoder.module)
        if compute.compile:
            encoder.module.compile()

    def buffer(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Tensor:
        """Return memory for a batch, pinned where that makes copies to the device faster."""
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return torch.empty(shape, dtype=kind, pin_memory=self._is_cuda)

    def submit(self, batch: Tensor) -> Callable[[], Rows]:
        """Start a batch `[B, …]`; return what waits for its rows `[B, R, D]`.

        Raises:
            EncoderError: If not even a single window fits into memory.
        """
        shape = tuple(batch.shape[1:])
        limit = min(self._ceilings.get(shape, len(batch)), len(batch))
        while True:
            try:
                parts = [self._launch(part) for part in torch.split(batch, limit)]
                break
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                limit = self._lower(shape, limit)
        if len(parts) == 1:
            return parts[0]
        return lambda: np.concatenate([part() for part in parts])

    def _lower(self, shape: tuple[int, ...], limit: int) -> int:
        name, place = self.encoder.spec.name, self.encoder.device
        if limit == 1:
            raise EncoderError(
                f"{name}: a single window of {list(shape)} does not fit into the memory of "
                f"{place}; free some, use --precision bf16, or another device."
            )
        if self._is_cuda:
            torch.cuda.empty_cache()
        self._ceilings[shape] = limit // 2
        self.notices.append(
            f"{name}: {limit} windows of {list(shape)} do not fit into the memory of {place}; "
            f"done {limit // 2} at a time"
        )
        return limit // 2

    def _launch(self, part: Tensor) -> Callable[[], Rows]:
        device = self.encoder.device
        cast = torch.autocast(device.type, dtype=self._autocast, enabled=bool(self._autocast))
        with torch.inference_mode(), cast:
            if self._copying is None:
                rows: Rows = self.encoder.encode(part.to(device)).float().cpu().numpy()
                return lambda: rows
            with torch.cuda.stream(self._copying):
                windows = part.to(device, non_blocking=True)
            torch.cuda.current_stream(device).wait_stream(self._copying)
            windows.record_stream(torch.cuda.current_stream(device))
            encoded = self.encoder.encode(windows).float()
            host = torch.empty(encoded.shape, dtype=encoded.dtype, pin_memory=True)
            host.copy_(encoded, non_blocking=True)
            done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(torch.cuda.current_stream(device))

        def wait() -> Rows:
            done.synchronize()
            found: Rows = host.numpy()
            return found

        return wait


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text and "memory" in text


def allow_tf32(is_allowed: bool) -> None:
    """Say whether float32 convolutions and matrix products on CUDA may round to TF32."""
    precision = "tf32" if is_allowed else "ieee"
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = precision  # type: ignore[attr-defined]


def to_channels_last(module: nn.Module) -> None:
    """Put the weights of 2-d and 3-d convolutions into channels-last order, in place."""
    for parameter in module.parameters():
        layout = _LAYOUTS.get(parameter.dim())
        if layout is not None:
            parameter.data = parameter.data.contiguous(memory_format=layout)
