"""What an extraction is asked to do: plain values, checked once, that every process is sent."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from scfae.store.column import DType
from scfae.store.container import Format
from scfae.store.errors import ConfigError

from .compute import Compute, Precision
from .decoders import DecoderName, check_decoder
from .limits import Limits

SHARD_SIZE = 256
"""Samples a shard of a new store, if not told."""


@dataclass(frozen=True, slots=True)
class ExtractSettings:
    """The settings of an extraction.

    Attributes:
        media: A folder of media, or a manifest.
        store: The store's folder or URL, made if there is none.
        encoders: Encoder strings `NAME[@WEIGHTS][:option=value,…]`.
        device: Of the encoders; `auto` takes every GPU there is, one process each.
        dtype: Of the stored rows.
        form: File format of new columns' shards; a column that was begun keeps its own.
        workers: Decoding processes; None is one a core.
        batch_size: Windows a forward pass; a column that was begun keeps its own.
        shard_size: Samples a shard, of a new store.
        max_failures: Quarantined samples beyond which the report is `exceeded`.
        timeout_s: Wall time that decoding one file may take.
        max_memory_mb: Megabytes that it may take.
        max_pixels: Pixels that one picture may have.
        max_file_pixels: Pixels that all pictures of a file may have together; None is no limit.
        decoder: Who decodes the pictures of videos: pyav, decord or torchcodec.
        retry_failed: Extract shards with failed samples again.
        replace: Throw away columns of the same name that were made differently.
        column_as: Name of the column, for a single encoder.
        precision: Of the forward passes, fp32, bf16 or fp16.
        tf32: On CUDA, let float32 products round their inputs to TF32.
        channels_last: Keep the weights of convolutions in channels-last order.
        compile: Compile the networks with torch.compile.
        processes: Processes that share the work on this machine; None is one a GPU, or one.
        claim: Share the extraction with other processes that are told the same, on this machine
            or others: each takes the shards that nobody has.
        lease_s: How long a claimed shard is left to a process that shows no sign of life.
        ray: Address of a Ray cluster that does the work, `auto` for the one around, `local` for
            one of this machine alone, or None.
    """

    media: str
    store: str
    encoders: tuple[str, ...]
    device: str = "auto"
    dtype: DType = "float32"
    form: Format = "zarr"
    workers: int | None = None
    batch_size: int = 8
    shard_size: int = SHARD_SIZE
    max_failures: int = 0
    timeout_s: float = 60.0
    max_memory_mb: int = 4096
    max_pixels: int = 100_000_000
    max_file_pixels: int | None = None
    decoder: DecoderName = "pyav"
    retry_failed: bool = False
    replace: bool = False
    column_as: str | None = None
    precision: Precision = "fp32"
    tf32: bool = False
    channels_last: bool = False
    compile: bool = False
    processes: int | None = None
    claim: bool = False
    lease_s: float = 60.0
    ray: str | None = None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return the settings that were sent as `dataclasses.asdict` gives them."""
        return cls(**(dict(body) | {"encoders": tuple(body["encoders"])}))

    @property
    def num_workers(self) -> int:
        """Decoding processes."""
        return (os.cpu_count() or 1) if self.workers is None else self.workers

    @property
    def limits(self) -> Limits:
        """Bounds on each file."""
        return Limits(
            self.timeout_s, self.max_pixels, self.max_file_pixels, self.max_memory_mb << 20
        )

    @property
    def compute(self) -> Compute:
        """How networks are computed."""
        return Compute(self.precision, self.tf32, self.channels_last, self.compile)

    def check(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range or contradicts another; the message names the flag.
        """
        if not self.encoders:
            raise ConfigError("no encoder given: name at least one with -e; see `scfae encoders`.")
        numbers = {
            "workers": self.num_workers,
            "batch-size": self.batch_size,
            "shard-size": self.shard_size,
            "processes": self.processes,
            "max-memory": self.max_memory_mb,
            "max-pixels": self.max_pixels,
            "max-file-pixels": self.max_file_pixels,
        }
        for name, value in numbers.items():
            if value is not None and value < 1:
                raise ConfigError(f"--{name} must be at least 1, not {value}.")
        if self.max_failures < 0:
            raise ConfigError(f"--max-failures must be at least 0, not {self.max_failures}.")
        for name, seconds in {"timeout": self.timeout_s, "lease": self.lease_s}.items():
            if not seconds > 0:
                raise ConfigError(f"--{name} must be more than 0 seconds, not {seconds:g}.")
        self.compute.check()
        check_decoder(self.decoder)
        self._check_sharing()

    def _check_sharing(self) -> None:
        is_shared = self.claim or (self.processes or 1) > 1
        if is_shared and self.retry_failed:
            raise ConfigError(
                "--retry-failed: does not go with --claim and --processes, since each process "
                "would try the same files again; use --ray or a single process."
            )
        if self.ray is not None and is_shared:
            raise ConfigError("--ray: Ray deals out the shards; leave out --claim and --processes.")
