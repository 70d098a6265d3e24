"""CMU-MOSEI as it is passed on, three layouts, becomes one store with a column a modality.

- MMSA: one pickle, `aligned_50.pkl` or `unaligned_50.pkl`, with its splits (family S).
- GCNet / MoMKE: folders of `UTTERANCE.npy` (`wav2vec-large-c-UTT`, `deberta-large-4-UTT`,
  `manet_UTT`) beside a label pickle with the dialogues and their splits (family U).
- CMU-SDK: `.csd` files, one of them the labels; see `mosei_csd`.

Labels: `sentiment` (-3 to 3) and `order`, an utterance's place in its video; the group is the
video. No pickle is run: the store's restricted reader reads them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from scfae.store import SampleRow
from scfae.store.errors import ConfigError, ManifestError
from scfae.store.importing import Nonfinite, open_source
from scfae.store.importing.labels import read_labels

from .importing import Part, Progress, import_parts
from .mosei_csd import Segment, SegmentSource, read_folds, read_segments
from .report import DataReport, Skipped, shared_groups
from .splitting import Shares, split_by_group

MMSA: Final = {"text": "mmsa-text", "audio": "mmsa-audio", "video": "mmsa-vision"}
GCNET: Final = {
    "audio": "wav2vec-large-c-UTT",
    "text": "deberta-large-4-UTT",
    "video": "manet_UTT",
}
_CSD: Final = {
    "audio": ("covarep",),
    "text": ("wordvectors", "word_vectors", "glove"),
    "video": ("facet", "openface"),
}
_CLIP: Final = "$_$"


def prepare_mosei(
    source: str | Path,
    store: str | Path,
    *,
    labels: str | Path | None = None,
    folds: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    nonfinite: Nonfinite = "fail",
    shares: Shares | None = None,
    shard_size: int = 256,
    progress: Progress | None = None,
) -> DataReport:
    """Make a store of CMU-MOSEI's published features, with sentiment, dialogue and order.

    Args:
        source: MMSA's pickle; or a folder of utterance folders; or a folder of `.csd` files.
        store: The store to make, a folder or URL.
        labels: GCNet's label pickle, with utterance folders.
        folds: The SDK's `cmu_mosei_std_folds.py`, with `.csd` files; without it videos are dealt
            by seed.
        columns: For each modality the folder or `.csd` in `source`, where names are not the
            published ones.
        nonfinite: What becomes of COVAREP's infinities: `fail` the sample or `zero` them.
        shares: Of the split by video, where the layout has none.
        shard_size: Samples a shard.
        progress: Receives (samples done, samples in all, text).

    Raises:
        ManifestError: If the layout is none of the three.
        ConfigError: If a flag does not go with the layout.
        ImportRefused: If a file cannot be taken.
    """
    path, shares = Path(source), shares or Shares()
    if path.is_file():
        _refuse("an MMSA pickle", labels=labels, folds=folds, columns=columns)
        found = _mmsa(path)
    elif not path.is_dir():
        raise ManifestError(f"{path}: there is no such file or folder.")
    elif any(path.glob("*.csd")):
        _refuse("a folder of .csd files", labels=labels)
        found = _csd(path, columns, None if folds is None else Path(folds), shares)
    else:
        _refuse("utterance folders", folds=folds)
        if labels is None:
            raise ConfigError(
                f"--labels: {path} holds no .csd, so it is taken for GCNet's utterance folders; "
                "give their label pickle."
            )
        found = _gcnet(path, Path(labels), columns)
    parts, rows, skipped, split = found
    fates = import_parts(
        parts,
        rows,
        store,
        shard_size=shard_size,
        nonfinite=nonfinite,
        recipe={"dataset": "cmu-mosei"},
        progress=progress,
    )
    report = DataReport(
        layout=f"mosei {split['layout']}",
        source=str(source),
        out=str(store),
        rows=tuple(rows.values()),
        skipped=tuple(skipped),
        split={key: value for key, value in split.items() if key not in ("layout", "notices")},
        columns=fates,
        targets=("sentiment",),
        warnings=(*split["notices"], *_warnings(rows)),
    )
    report.write()
    return report


Found = tuple[list[Part], dict[str, SampleRow], list[Skipped], dict[str, Any]]


def _refuse(layout: str, **flags: Any) -> None:
    for name, value in flags.items():
        if value:
            raise ConfigError(f"--{name}: does not go with {layout}.")


def _mmsa(path: Path) -> Found:
    rows: dict[str, SampleRow] = {}
    parts, notices = [], []
    for modality, column in MMSA.items():
        opener = partial(open_source, path, modality=modality)
        with opener() as source:
            rows |= {name: _labelled(path, source.labels[name]) for name in source.ids}
            notices += [one for one in source.notices if one not in notices]
        parts.append(Part(column, modality, path.name, opener))
    return parts, rows, [], {"layout": "mmsa", "by": "the pickle's own splits", "notices": notices}


def _labelled(path: Path, row: SampleRow) -> SampleRow:
    value = row.labels.get("regression_labels")
    if not isinstance(value, (int, float)):
        raise ManifestError(f"{path}: the sample {row.id!a} has no number in regression_labels.")
    clip = row.id.rpartition(_CLIP)[2]
    order = int(clip) if clip.isdecimal() else None
    return replace(row, labels={**row.labels, "sentiment": float(value), "order": order})


def _gcnet(root: Path, labels: Path, columns: Mapping[str, str] | None) -> Found:
    chosen = dict(columns or {m: name for m, name in GCNET.items() if (root / name).is_dir()})
    if not chosen:
        raise ConfigError(
            f"--columns: {root} has none of the folders {', '.join(GCNET.values())}; say which "
            "folder is which modality, e.g. audio=wav2vec."
        )
    known: dict[str, SampleRow] = {}
    place: Counter[str] = Counter()
    for name, row in read_labels(labels).items():
        value = row.labels["label"]
        if not isinstance(value, (int, float)):
            raise ManifestError(f"{labels}: the label of {name!a} is no sentiment but {value!a}.")
        order = place[str(row.group)]
        place[str(row.group)] += 1
        known[name] = replace(row, labels={"sentiment": float(value), "order": order})
    parts, there, notices = [], set(), []
    for modality, folder in chosen.items():
        if not (root / folder).is_dir():
            raise ConfigError(f"--columns: there is no folder {root / folder}.")
        opener = partial(open_source, root / folder, modality=modality)
        with opener() as source:
            there |= set(source.ids)
            notices += list(source.notices)
        parts.append(Part(folder, modality, folder, opener))
    rows = {name: known[name] for name in known if name in there}
    rows |= {name: SampleRow(name) for name in sorted(there - set(known))}
    unlabelled = sorted(there - set(known))
    if unlabelled:
        notices.append(
            f"{len(unlabelled)} utterances have features and no label, e.g. {unlabelled[0]}; they "
            "are in no split"
        )
    skipped = [Skipped(name, "it has no features") for name in known if name not in there]
    return parts, rows, skipped, {"layout": "gcnet", "by": "the label pickle", "notices": notices}


def _csd(
    root: Path, columns: Mapping[str, str] | None, folds: Path | None, shares: Shares
) -> Found:
    files = sorted(root.glob("*.csd"))
    named = [path for path in files if "label" in path.name.lower()]
    if len(named) != 1:
        raise ManifestError(
            f"{root}: {len(named)} of its .csd files have 'label' in their name; one must, such as "
            "CMU_MOSEI_Labels.csd."
        )
    segments: dict[str, Segment] = {one.id: one for one in read_segments(named[0])}
    chosen = dict(columns or _csd_columns(files))
    parts, skipped, covered = [], [], set()
    for modality, name in chosen.items():
        path = root / name
        if path not in files:
            raise ConfigError(f"--columns: there is no {path}.")
        opener = partial(SegmentSource, path, segments)
        with opener() as source:
            skipped += [Skipped(f"{name}: {one}", "it has no labels") for one in source.unlabelled]
            covered |= set(source.ids)
        parts.append(Part(path.stem, modality, name, opener))
    left = [one for one in files if one.name not in chosen.values() and one != named[0]]
    skipped += [Skipped(one.name, "it is no column; name it with --columns") for one in left]
    skipped += [Skipped(name, "it has no features") for name in segments if name not in covered]
    kept = [one for name, one in segments.items() if name in covered]
    if folds is None:
        rows = split_by_group([one.row(None) for one in kept], shares, strata={})
        how = shares.record("video")
    else:
        split = read_folds(folds)
        rows = [one.row(split.get(one.video)) for one in kept]
        how = {"by": folds.name}
    notices = []
    without = sorted({str(row.group) for row in rows if row.split is None})
    if without:
        notices.append(f"{len(without)} videos are in no fold, e.g. {without[0]}")
    by_id = {row.id: row for row in rows}
    return parts, by_id, skipped, {"layout": "csd", **how, "notices": notices}


def _csd_columns(files: list[Path]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for modality, words in _CSD.items():
        found = [one.name for one in files if any(word in one.name.lower() for word in words)]
        if len(found) > 1:
            raise ConfigError(
                f"--columns: {' and '.join(found)} may both be {modality}; say which is meant."
            )
        if found:
            chosen[modality] = found[0]
    if not chosen:
        raise ConfigError(
            f"--columns: none of {', '.join(one.name for one in files)} has a known name; say "
            "which file is which modality, e.g. audio=CMU_MOSEI_COVAREP.csd."
        )
    return chosen


def _warnings(rows: Mapping[str, SampleRow]) -> list[str]:
    warnings = []
    shared = shared_groups(list(rows.values()))
    if shared:
        warnings.append(f"{len(shared)} videos are in more than one split, e.g. {shared[0]}")
    zero = sum(row.labels.get("sentiment") == 0 for row in rows.values())
    if zero:
        warnings.append(
            f"{zero} of {len(rows)} utterances have sentiment 0: the field's ACC2 and F1 leave "
            "them out"
        )
    return warnings
