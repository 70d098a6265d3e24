"""`scfae extract`: media in, columns of a feature store out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .arguments import parse, print_json, say
from .interrupt import Stopped, raise_on_sigterm
from .progress import Progress

EXAMPLE = """\
  scfae extract clips/ features/ -e efficientnet-lite0 -e ge2e
  scfae extract talks.csv features/ -e dinov3-vits16@dinov3_vits16_pretrain_lvd1689m-08c60483.pth
  scfae extract talks.csv features/ -e r2plus1d-18@random:0        # noise, and marked so
  scfae extract talks.csv s3://bucket/features -e ge2e --claim     # one task of a SLURM array

Run the same command again after a crash: it goes on where it stopped.
"""


@dataclass(frozen=True)
class ExtractArguments:
    """Run encoders over media into a feature store: one decode a file, one column an encoder."""

    media: Annotated[Path, tyro.conf.Positional]
    """A folder of media, or a manifest (.csv, .jsonl, .parquet)."""
    store: Annotated[str, tyro.conf.Positional]
    """The feature store, a folder or a URL such as s3://bucket/features; made on first use."""
    encoder: Annotated[
        tuple[str, ...],
        tyro.conf.arg(aliases=["-e"], metavar="NAME[@WEIGHTS][:option=value,…]"),
        tyro.conf.UseAppendAction,
    ] = ()
    """An encoder, once for each; see `scfae encoders`."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …; auto and cuda take every GPU there is."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the stored features."""
    format: Literal["zarr", "zarr-zstd", "zarr-dir", "webdataset", "hdf5"] = "zarr"
    """File format of new columns; a column that was begun keeps its own."""
    workers: int | None = None
    """Decoding processes; one a core if not given."""
    batch_size: int = 8
    """Windows a forward pass."""
    shard_size: int = 256
    """Samples a shard; fixed when the store is made."""
    max_failures: int = 0
    """More quarantined inputs than this end the command with status 3."""
    timeout: float = 60.0
    """Seconds one file may take to decode."""
    decoder: Literal["pyav", "decord", "torchcodec"] = "pyav"
    """Who decodes the pictures of videos; the latter two are extras."""
    max_memory: Annotated[int, tyro.conf.arg(metavar="MB")] = 4096
    """Megabytes that decoding one file may take."""
    max_pixels: int = 100_000_000
    """Pixels that one picture may have."""
    max_file_pixels: int | None = None
    """Pixels that all pictures of one file may have together; no limit if not given."""
    retry_failed: bool = False
    """Try again the shards that hold failed samples."""
    replace: bool = False
    """Replace a column that was made by another encoder, other weights or options."""
    column: Annotated[str | None, tyro.conf.arg(name="as", metavar="NAME")] = None
    """Name of the new column, with one encoder."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the forward passes; another one than a column was begun with makes another column."""
    tf32: bool = False
    """On a GPU: let float32 products round their inputs to TF32, quicker and less exact."""
    channels_last: bool = False
    """Keep the weights of convolutions in channels-last order; often quicker."""
    compile: bool = False
    """Compile the networks with torch.compile: a slow start, then quicker."""
    processes: int | None = None
    """Processes that share the work on this machine; one for each GPU if not given."""
    claim: bool = False
    """Share the work with other processes given the same command, on this machine or others."""
    lease: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 60.0
    """With --claim: seconds until the shard of a dead process is taken over."""
    ray: Annotated[str | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Have a Ray cluster do it: its address, auto (if none is given), or local."""
    dry_run: bool = False
    """Say what would be done and, by a short probe, how long it would take; touch nothing."""
    json: bool = False
    """The report as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ExtractArguments, "scfae extract", _with_address(argv), EXAMPLE)

    from scfae.extract import ExtractionInterrupted, extract

    raise_on_sigterm()
    try:
        with Progress("extract", "files") as progress:
            report = extract(
                flags.media,
                flags.store,
                flags.encoder,
                device=flags.device,
                dtype=flags.dtype,
                form=flags.format,
                workers=flags.workers,
                batch_size=flags.batch_size,
                shard_size=flags.shard_size,
                max_failures=flags.max_failures,
                timeout_s=flags.timeout,
                decoder=flags.decoder,
                max_memory_mb=flags.max_memory,
                max_pixels=flags.max_pixels,
                max_file_pixels=flags.max_file_pixels,
                retry_failed=flags.retry_failed,
                replace=flags.replace,
                column_as=flags.column,
                precision=flags.precision,
                tf32=flags.tf32,
                channels_last=flags.channels_last,
                compile=flags.compile,
                processes=flags.processes,
                claim=flags.claim,
                lease_s=flags.lease,
                ray=flags.ray,
                dry_run=flags.dry_run,
                progress=progress,
            )
    except ExtractionInterrupted as stop:
        raise Stopped(str(stop), stop.signum) from None
    say(report.text())
    if flags.json:
        print_json(report.as_dict())
    return 3 if report.exceeded else 0


def _with_address(argv: Sequence[str]) -> list[str]:
    """Return the words with `auto` after a `--ray` that has no address."""
    words = []
    for word, following in zip(argv, [*argv[1:], "-"], strict=True):
        words.append(word)
        if word == "--ray" and following.startswith("-"):
            words.append("auto")
    return words
