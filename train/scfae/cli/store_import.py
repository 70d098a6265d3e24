"""`scfae store import`: features made elsewhere become a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from . import store_restore
from .arguments import parse, print_json, say
from .interrupt import resumable
from .progress import Progress

EXAMPLE = """\
  scfae store import wavlm/ features/ --column wavlm --modality audio --labels talks.csv
  scfae store import unaligned_50.pkl mosei/ --column covarep --modality audio --nonfinite zero
  scfae store import CMU_MOSEI_VisualFacet42.csd mosei/ --column facet --modality video
"""


@dataclass(frozen=True)
class ImportArguments:
    """Make a column from features made elsewhere: checked, never unpickled, with their digest.

    SOURCE is a folder of ID.npy, ID.npz or ID.pt (at any depth); one .npz, .h5 or .mat with data,
    offsets and ids, with one array and ids, or with an array a sample; a .csd of the
    CMU-MultimodalSDK; a pickle of MMSA's.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """A folder or file of features."""
    store: Annotated[str, tyro.conf.Positional]
    """The feature store, a folder or URL; made on first use, with the samples of the source."""
    column: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """Name of the column."""
    modality: Annotated[str, tyro.conf.arg(metavar="M")]
    """What it says, e.g. audio; also tells which modality of an MMSA pickle is wanted."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A .csv, .jsonl or .parquet with id, split, group and labels; or a label pickle of GCNet's."""
    key: Annotated[str | None, tyro.conf.arg(metavar="KEY")] = None
    """The array, data set, group or entry with the rows, where there are several."""
    shard_size: int = 256
    """Samples a shard; fixed when the store is made."""
    dtype: Literal["float32", "float16"] | None = None
    """Type of the stored features; that of the source if not given."""
    format: Literal["zarr", "zarr-zstd", "zarr-dir", "webdataset", "hdf5"] = "zarr"
    """Container of the shards."""
    nonfinite: Literal["fail", "zero"] = "fail"
    """A sample with NaN or infinity: fail it, or put 0 in their place and call it partial."""
    add_samples: bool = False
    """Append samples that the store does not know."""
    replace: bool = False
    """Replace a column that was made differently."""
    max_bytes: int | None = None
    """What a compressed file may unpack to; 20 times its size, at least 1 GiB, if not given."""
    json: bool = False
    """The report as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    if store_restore.is_meant(argv):
        return store_restore.run(argv)
    flags = parse(ImportArguments, "scfae store import", argv, EXAMPLE)

    from scfae.store.importing import import_features

    with resumable(flags.store), Progress("import", "samples") as progress:
        report = import_features(
            flags.source,
            flags.store,
            column=flags.column,
            modality=flags.modality,
            labels=flags.labels,
            key=flags.key,
            shard_size=flags.shard_size,
            dtype=flags.dtype,
            form=flags.format,
            nonfinite=flags.nonfinite,
            add_samples=flags.add_samples,
            replace_column=flags.replace,
            max_bytes=flags.max_bytes,
            progress=progress,
        )
    say(report.text())
    if flags.json:
        print_json(report.as_dict())
    return 0
