"""What an extraction would take, from a short measured probe: a few files, one batch an encoder.

Files are taken evenly from those that are to be decoded, and count for all. The time is that of the
slower of decoding and forward passes, or of all cores busy with both, whichever is longer: what the
engine takes when it waits for nothing else.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from .batching import DEFAULT_BATCH_SIZE
from .claiming import tasks_of
from .compute import Compute
from .decoder_pool import DecoderPool, Request
from .forward import Forward
from .media import Decoded
from .meter import duration
from .plan import ColumnPlan, sample_files
from .preparation import Prepared
from .recipe import Window

PROBE_FILES: Final = 8
PROBE_S: Final = 20.0
_SLOW_PASS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What there would be to do.

    Attributes:
        files: Media files to decode.
        probed: How many of them were looked into.
        media_hours: Of sound and pictures that move.
        clips: Windows to encode, over all columns.
        feature_bytes: Of the rows that would be stored.
        seconds: Wall time on this machine.
    """

    files: int
    probed: int
    media_hours: float
    clips: int
    feature_bytes: int
    seconds: float

    def text(self) -> str:
        """Return one line for a person."""
        return (
            f"{self.files} files to decode; from a probe of {self.probed} of them: "
            f"{self.media_hours:.2f} hours of media, {self.clips} clips, "
            f"{self.feature_bytes / 1e6:.1f} MB of features, about {duration(self.seconds)}"
        )


def estimate(prepared: Prepared, *, num_devices: int = 1) -> Estimate | None:
    """Return what an extraction would take; None if there is nothing to do.

    Args:
        prepared: What is to do, with the encoders where they would work.
        num_devices: How many processes would share the forward passes.
    """
    settings, columns = prepared.settings, prepared.work.columns
    requests = _requests(prepared)
    if not requests:
        return None
    places = np.linspace(0, len(requests) - 1, min(len(requests), PROBE_FILES)).astype(int)
    probe = _probe([requests[i] for i in places], prepared)
    scale = len(requests) / probe.files
    rows = {name: sum(len(one.times) for one in found) for name, found in probe.windows.items()}
    num_bytes = sum(
        count * columns[name].info.dim * np.dtype(settings.dtype).itemsize
        for name, count in rows.items()
    )
    clips = sum(map(len, probe.windows.values()))
    forward_s = scale * sum(
        len(found) * _seconds_a_window(columns[name], found)
        for name, found in probe.windows.items()
        if found
    )
    decode_s = scale * probe.decode_s
    is_cpu = all(plan.encoder.device.type == "cpu" for plan in columns.values())
    busy_s = decode_s + (forward_s * torch.get_num_threads() if is_cpu else 0.0)
    return Estimate(
        files=len(requests),
        probed=probe.files,
        media_hours=scale * probe.media_s / 3600,
        clips=round(scale * clips),
        feature_bytes=round(scale * num_bytes),
        seconds=max(
            decode_s / settings.num_workers,
            forward_s / num_devices,
            busy_s / (os.cpu_count() or 1),
        ),
    )


@dataclass(slots=True)
class _Probe:
    """What a few files gave."""

    windows: dict[str, list[Window]]
    files: int = 0
    media_s: float = 0.0
    decode_s: float = 0.0


def _probe(requests: list[Request], prepared: Prepared) -> _Probe:
    probe = _Probe({name: [] for name in prepared.work.columns})
    settings = prepared.settings
    with DecoderPool(1, settings.limits, ahead=0, decoder=settings.decoder) as pool:
        # A first file is decoded twice: what the child imports for it is no part of the work.
        messages = pool.decode([requests[0], *requests])
        is_warm = False
        begun_s = time.perf_counter()
        for message in messages:
            parts = (
                {name: fate.windows for name, fate in message.fates.items()}
                if isinstance(message, Decoded)
                else message
            )
            if is_warm:
                for name, windows in parts.items():
                    probe.windows[name] += windows
            if not isinstance(message, Decoded):
                continue
            if is_warm:
                probe.files += 1
                probe.media_s += message.duration_s or 0.0
                probe.decode_s = time.perf_counter() - begun_s
                if probe.decode_s > PROBE_S:
                    break
            else:
                is_warm, begun_s = True, time.perf_counter()
    return probe


def _seconds_a_window(plan: ColumnPlan, windows: list[Window]) -> float:
    """Return the time that a forward pass takes for each window of a full batch."""
    forward = Forward(plan.encoder, Compute.recorded(plan.info))
    size = int(plan.info.compute.get("batch_size", DEFAULT_BATCH_SIZE))
    first = windows[0].array
    batch = forward.buffer((size, *first.shape), first.dtype)
    batch.numpy()[:] = first
    spent_s = _seconds(forward, batch)
    if spent_s < _SLOW_PASS_S:  # the first also warms up
        spent_s = _seconds(forward, batch)
    return spent_s / size


def _seconds(forward: Forward, batch: torch.Tensor) -> float:
    begun_s = time.perf_counter()
    forward.submit(batch)()
    return time.perf_counter() - begun_s


def _requests(prepared: Prepared) -> list[Request]:
    """Return every file that would be decoded, with all it feeds."""
    columns: Mapping[str, Any] = prepared.work.columns
    if prepared.store is None:
        wanted = [(item, tuple(columns)) for item in prepared.items.values()]
    else:
        samples = prepared.store.samples
        wanted = [
            (prepared.items[str(samples.ids[index])], task.missing)
            for task in tasks_of(prepared.work)
            for index in samples.rows_of(task.shard)
            if str(samples.ids[index]) in prepared.items
        ]
    return [
        Request(path, recipes)
        for item, missing in wanted
        for path, recipes in sample_files(item, columns, missing).items()
    ]
