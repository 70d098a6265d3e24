"""ActivityNet features of the APIVR family: six pickles become a store of paired video and image.

```
train_v.pkl  [N, 64, 4096]   a bag of 64 activity proposals a video (R-C3D fc6)
train_i.pkl  [N, 128]        an image each
train_label.pkl  [N]         its class, which the video of the same number shares
test_v.pkl, test_i.pkl, test_label.pkl
```

A sample is a pair: `class` is what retrieval counts as a hit, `pair` its number, and the group is
the digest of the video's bag, so that pairs of one video stay on one side. There is no official
validation split: pairs of train are carved off.

Setting 4096-128 is these two columns. For 128-128 the paper says "a simple linear map" of the
video: `scfae train --linear-maps video=128` trains one with the fusion. It is no column; the column
offered beside it needs no training of its own: 128 principal components of the training bags, or a
random projection. Upstream scales both
modalities by the range of the training matrix, and test by that of the scaled one, which is 1: we
store features as they are.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np

from scfae.store import Chain, FeatureStore, SampleRow, derive
from scfae.store.errors import ImportRefused, ManifestError
from scfae.store.importing import Rows
from scfae.store.importing.arrays import Array
from scfae.store.importing.limits import ByteBudget, regular_file
from scfae.store.importing.pickled import PickledArray, as_list
from scfae.store.importing.pickles import read_pickle
from scfae.store.importing.source import SameDim

from .importing import Part, Progress, import_parts
from .report import DataReport, shared_groups
from .splitting import Shares, carve_val

VIDEO, IMAGE, VIDEO_128 = "apivr-video", "apivr-image", "apivr-video-128"
_SPLITS: Final = ("train", "test")
_PUBLISHED: Final = {"v": 4096, "i": 128}


def prepare_activitynet(
    root: str | Path,
    store: str | Path,
    *,
    setting: Literal["4096-128", "128-128"] = "4096-128",
    reduce: Literal["pca", "project"] = "pca",
    shares: Shares | None = None,
    shard_size: int = 64,
    progress: Progress | None = None,
) -> DataReport:
    """Make a store of the APIVR family's pairs of video and image.

    Args:
        root: The folder with the six pickles.
        store: The store to make, a folder or URL.
        setting: 128-128 adds the video in 128 features, as `apivr-video-128`.
        reduce: How: principal components fitted on train, or a random projection.
        shares: `val` says how much of train becomes val.
        shard_size: Samples a shard; a bag is a megabyte.
        progress: Receives (samples done, samples in all, text).

    Raises:
        ManifestError: If a pickle is not there or holds something else.
        ImportRefused: If the arrays do not fit each other.
    """
    root, shares = Path(root), shares or Shares()
    sources = {key: PairSource(root, key) for key in ("v", "i")}
    rows = _rows(root, sources["v"], sources["i"])
    if shares.val:
        rows = carve_val(rows, shares)
    by_id = {row.id: row for row in rows}
    parts = [
        Part(column, modality, root.resolve().name, partial(PairSource, root, key))
        for column, modality, key in ((VIDEO, "video", "v"), (IMAGE, "image", "i"))
    ]
    fates = import_parts(
        parts,
        by_id,
        store,
        shard_size=shard_size,
        nonfinite="fail",
        recipe={"dataset": "activitynet-apivr"},
        progress=progress,
    )
    if setting == "128-128":
        chain = Chain.create(**{reduce: 128})
        made = derive(FeatureStore.open(store), VIDEO, VIDEO_128, chain)
        fates[VIDEO_128] = {"modality": "video", "dim": made.dim, "from": made.encoder}
    how = {"by": "the files", "val": "pairs of train", "val_share": shares.val, "seed": shares.seed}
    report = DataReport(
        layout=f"activitynet {setting}",
        source=str(root),
        out=str(store),
        rows=tuple(rows),
        split=how if shares.val else {"by": "the files"},
        columns=fates,
        targets=("class",),
        warnings=tuple(_warnings(sources, rows)),
    )
    report.write()
    return report


class PairSource:
    """The videos or the images of both splits as a source; see `scfae.store.importing.Source`.

    Args:
        root: The folder with the pickles.
        key: `v` or `i`.

    Raises:
        ManifestError: If a pickle is not there.
        ImportRefused: If it holds no array `[N, D]` or `[N, P, D]`.
    """

    kind = "apivr"
    labels: Mapping[str, SampleRow]

    def __init__(self, root: Path, key: Literal["v", "i"] | str) -> None:
        self._arrays: dict[str, Array] = {}
        same, hasher = SameDim(), hashlib.sha256()
        for split in _SPLITS:
            path = root / f"{split}_{key}.pkl"
            array = _array(path)
            if len(array.shape) not in (2, 3) or array.shape[-1] < 1:
                raise ImportRefused(
                    f"{path}: has the shape {list(array.shape)}; it must be [N, D] or [N, P, D]."
                )
            same.add(str(path), array.shape[-1], array.dtype)
            self._arrays[split] = array
        self._digests: dict[str, str] = {}
        for split, array in self._arrays.items():
            for i in range(array.shape[0]):
                digest = hashlib.sha256(np.ascontiguousarray(array.read(i, i + 1)).data).hexdigest()
                self._digests[pair_id(split, i)] = digest
                hasher.update(digest.encode())
        self.labels, self.notices = {}, list[str]()
        self.ids = list(self._digests)
        self.sha256 = hasher.hexdigest()
        self.dim: int = same.dim
        self.dtype: np.dtype[Any] = same.dtype

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: a file closes with the last array that is read from it."""

    def count(self, split: str) -> int:
        """Return how many a split has."""
        return int(self._arrays[split].shape[0])

    def sample(self, name: str) -> Rows:
        """Return a bag `[P, D]` or a vector `[1, D]`."""
        split, _, number = name.partition("-")
        rows = self._arrays[split].read(int(number), int(number) + 1)
        return Rows(rows[0] if rows.ndim == 3 else rows, None)

    def sample_sha256(self, name: str) -> str | None:
        """Return the digest of a sample's numbers."""
        return self._digests[name]


def pair_id(split: str, number: int) -> str:
    """Return the id of a pair, e.g. `train-000017`."""
    return f"{split}-{number:06d}"


def _array(path: Path) -> Array:
    content = _content(path)
    if not isinstance(content, PickledArray) or content.objects is not None:
        raise ImportRefused(f"{path}: holds no array of numbers.")
    return content.array


def _content(path: Path) -> Any:
    if not path.exists():
        raise ManifestError(
            f"{path}: there is no such file; the layout is train_v.pkl, train_i.pkl, "
            "train_label.pkl and the same three of test."
        )
    path = path.resolve()
    return read_pickle(path, ByteBudget(path, regular_file(path).st_size))


def _rows(root: Path, videos: PairSource, images: PairSource) -> list[SampleRow]:
    rows: list[SampleRow] = []
    for split in _SPLITS:
        path = root / f"{split}_label.pkl"
        labels = [_class(one, path) for one in as_list(_content(path), str(path))]
        counts = {"videos": videos.count(split), "images": images.count(split)}
        for what, count in counts.items():
            if count != len(labels):
                raise ImportRefused(
                    f"{path}: has {len(labels)} labels for {count} {what}; the same number is a "
                    "pair."
                )
        for i, label in enumerate(labels):
            name = pair_id(split, i)
            group = (videos.sample_sha256(name) or "")[:16]
            rows.append(
                SampleRow(
                    name, split=split, group=group, labels={"class": label, "pair": len(rows)}
                )
            )
    return rows


def _class(value: Any, path: Path) -> int | str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ImportRefused(f"{path}: {str(value)[:40]!a} is no class; one number or name a pair.")
    return value


def _warnings(sources: Mapping[str, PairSource], rows: list[SampleRow]) -> list[str]:
    warnings = [
        f"{key} has {sources[key].dim} features a row where the published files have {dim}"
        for key, dim in _PUBLISHED.items()
        if sources[key].dim != dim
    ]
    shared = shared_groups(rows)
    if shared:
        number = sum(row.group in shared and row.split == "test" for row in rows)
        warnings.append(f"the very same video is in train and in {number} pairs of test")
    unseen = {row.labels["class"] for row in rows if row.split == "test"}
    unseen -= {row.labels["class"] for row in rows if row.split == "train"}
    if unseen:
        warnings.append(
            f"{len(unseen)} classes of test are not in train, e.g. {min(unseen, key=str)}"
        )
    warnings.append(
        "the files do not say which video an image was cut from: a query may come from a video of "
        "the gallery"
    )
    return warnings
