"""What an extraction is asked to do: plain values, checked once, that every process is sent."""

import os
from dataclasses import dataclass

from scfae.store.column import DType
from scfae.store.container import Format
from scfae.store.errors import ConfigError

from .limits import Limits


@dataclass(frozen=True, slots=True)
class ExtractSettings:
    """The arguments of `extract`, where they are explained."""

    media: str
    store: str
    encoders: tuple[str, ...]
    device: str = "auto"
    dtype: DType = "float32"
    form: Format = "zarr"
    workers: int | None = None
    batch_size: int = 8
    shard_size: int = 256
    max_failures: int = 0
    timeout_s: float = 60.0
    retry_failed: bool = False
    replace: bool = False
    column_as: str | None = None
    claim: bool = False
    lease_s: float = 60.0

    @property
    def num_workers(self) -> int:
        """Decoding processes."""
        return (os.cpu_count() or 1) if self.workers is None else self.workers

    @property
    def limits(self) -> Limits:
        """Bounds on each file."""
        return Limits(timeout_s=self.timeout_s)

    def check(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: If one is out of range; the message names the flag.
        """
        if not self.encoders:
            raise ConfigError("no encoder given: name at least one with -e; see `scfae encoders`.")
        numbers = {
            "workers": self.num_workers,
            "batch-size": self.batch_size,
            "shard-size": self.shard_size,
        }
        for name, value in numbers.items():
            if value < 1:
                raise ConfigError(f"--{name} must be at least 1, not {value}.")
        if self.max_failures < 0:
            raise ConfigError(f"--max-failures must be at least 0, not {self.max_failures}.")
        if not self.timeout_s > 0:
            raise ConfigError(f"--timeout must be more than 0 seconds, not {self.timeout_s:g}.")
        if not self.lease_s > 0:
            raise ConfigError(f"--lease must be more than 0 seconds, not {self.lease_s:g}.")
        if self.claim and self.retry_failed:
            raise ConfigError(
                "--claim: does not go with --retry-failed, since each process would try the same "
                "files again; use --ray or a single process."
            )
