"""FakeAVCeleb v1.2: `meta_data.csv` and four class folders become a manifest.

```
FakeAVCeleb_v1.2/
  meta_data.csv      source,target1,target2,method,category,type,race,gender,path,
  RealVideo-RealAudio/RACE/GENDER/SOURCE/NAME.mp4      A   500 in the release
  RealVideo-FakeAudio/…                                B   500
  FakeVideo-RealAudio/…                                C   9,709
  FakeVideo-FakeAudio/…                                D   10,857
```

`path` is a file's name; the column after it has no name and is its folder, below the name that the
set had at its authors'. Some files are listed twice under two methods: the first line counts.

The group of a clip is its `source`, the person whose real clip all others were made of. The face
or voice in a fake is that of `target1` and `target2`, who are sources of other clips: a split by
source keeps a clip's background and its person on one side, not every face. Those that cross are
counted, and left out where that is wanted.

Public lists (MVF's `train_frame.txt` and `val_frame.txt`, the latter its test list) name a frame a
line, `…/CLASS/RACE/GENDER/SOURCE/NAME_00081.jpg LABEL`: the video is NAME.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scfae.extract import media_kind
from scfae.store import SampleRow
from scfae.store.errors import ManifestError

from .manifest import check_manifest_path, write_manifest
from .report import DataReport, Skipped, shared_groups
from .splitting import Shares, carve_val, split_by_group

CLASSES: Final = {
    "RealVideo-RealAudio": ("A", "RvRa", 0, 0),
    "RealVideo-FakeAudio": ("B", "RvFa", 0, 1),
    "FakeVideo-RealAudio": ("C", "FvRa", 1, 0),
    "FakeVideo-FakeAudio": ("D", "FvFa", 1, 1),
}
"""Folder: category, class, whether the video is fake, whether the sound is."""
_LIST_LABELS: Final = {"RvRa": "0", "FvRa": "1", "RvFa": "2", "FvFa": "3"}
_COLUMNS: Final = ("source", "target1", "target2", "method", "category", "type", "path")
_FRAME: Final = re.compile(r"_\d+$")
_PICTURES: Final = (".jpg", ".jpeg", ".png")

Key = tuple[str, str, str]
"""Class folder, source and file name without suffix: what a list and a file have in common."""


def prepare_fakeavceleb(
    root: str | Path,
    manifest: str | Path,
    *,
    shares: Shares | None = None,
    lists: Mapping[str, str | Path] | None = None,
    drop_crossing: bool = False,
) -> DataReport:
    """Write a manifest of FakeAVCeleb with its labels and an identity-disjoint split.

    Labels: `fake` (of the whole), `fake_video`, `fake_audio`, `class` (RvRa, RvFa, FvRa, FvFa),
    `method`, `race`, `gender`, `target1`, `target2`; the group is the source identity.

    Args:
        root: The folder that holds `meta_data.csv`.
        manifest: The `.csv` to write.
        shares: Of the split by identity, stratified by race and gender.
        lists: A public list for each split, e.g. `{"train": …, "test": …}`; videos in none are
            left. Without a `val` list, some identities of train become val.
        drop_crossing: Leave out clips whose target is a source of another split.

    Raises:
        ManifestError: If there is no `meta_data.csv`, it is another one, or nothing is left.
        ConfigError: If the manifest cannot be written there.
    """
    root, manifest = Path(root), Path(manifest)
    check_manifest_path(manifest)
    shares = shares or Shares()
    rows, skipped = _read(root)
    skipped += _unlisted(root, rows, skipped)
    warnings: list[str] = []
    how: dict[str, Any]
    if lists:
        rows, left = _split_by_lists(rows, lists, warnings)
        skipped += left
        how = {"by": "public lists", **{name: Path(path).name for name, path in lists.items()}}
        if "val" not in lists and shares.val:
            rows = carve_val(rows, shares)
            how |= {"val": "identities of train", "val_share": shares.val, "seed": shares.seed}
    else:
        strata = {str(row.group): f"{row.labels['race']}/{row.labels['gender']}" for row in rows}
        rows = split_by_group(rows, shares, strata)
        how = shares.record("source identity, stratified by race and gender")
    crossing = _crossing(rows)
    if crossing and drop_crossing:
        rows = [row for row in rows if row.id not in crossing]
        skipped += [Skipped(name, "its target is a source of another split") for name in crossing]
        how["crossing"] = "dropped"
    elif crossing:
        warnings.append(
            f"{len(crossing)} clips show or voice a target who is a source of another split, e.g. "
            f"{min(crossing)}: identities are disjoint by source alone"
        )
    shared = shared_groups(rows)
    if shared:
        warnings.append(
            f"{len(shared)} identities are in more than one split of the lists, e.g. {shared[0]}"
        )
    write_manifest(manifest, rows, root)
    warnings += _imbalance(rows)
    report = DataReport(
        layout="fakeavceleb",
        source=str(root),
        out=str(manifest),
        rows=tuple(rows),
        skipped=tuple(skipped),
        split=how,
        targets=("fake", "fake_video", "fake_audio", "class"),
        warnings=tuple(warnings),
    )
    report.write()
    return report


def _read(root: Path) -> tuple[list[SampleRow], list[Skipped]]:
    """Return the clips of `meta_data.csv` that are there, and what is odd about the others."""
    table = root / "meta_data.csv"
    if not table.is_file():
        raise ManifestError(
            f"{table}: there is no such file; ROOT is the folder of FakeAVCeleb_v1.2 that holds it."
        )
    rows: dict[str, SampleRow] = {}
    skipped: list[Skipped] = []
    for number, line in _lines(table):
        what = f"{line['folder']}/{line['path']}"
        kind = CLASSES.get(line["type"])
        if kind is None or kind[0] != line["category"]:
            odd = "its type and category are not one of the four classes"
            skipped.append(Skipped(f"{what} (line {number})", odd))
            continue
        relative = _relative(line["folder"], line["path"])
        why = _why_odd(root / relative, relative, line)
        if why is not None:
            skipped.append(Skipped(what, why))
        elif _id(relative) in rows:
            skipped.append(Skipped(f"{what} (line {number})", "it is listed twice"))
        else:
            rows[_id(relative)] = _row(relative, line)
    return list(rows.values()), skipped


def _lines(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, fields), the folder under `folder`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            missing = [name for name in _COLUMNS if name not in header]
            if missing or len(header) < len(_COLUMNS) + 1 or header[-1] in _COLUMNS:
                raise ManifestError(
                    f"{table}: is not FakeAVCeleb v1.2's: it has {', '.join(header[:12])}; "
                    f"wanted are {', '.join(_COLUMNS)} and the folder in a last column."
                )
            for fields in reader:
                if len(fields) != len(header):
                    raise ManifestError(
                        f"{table}, line {reader.line_num}: has {len(fields)} fields where the "
                        f"header has {len(header)}."
                    )
                named = dict(zip(header, (one.strip() for one in fields), strict=True))
                yield reader.line_num, named | {"folder": fields[-1].strip().strip("/")}
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise ManifestError(f"{table}: cannot be read ({error}).") from None


def _relative(folder: str, name: str) -> Path:
    """Return a clip's path below the root, whatever the set was called at its authors'."""
    parts = Path(folder).parts
    start = next((i for i, part in enumerate(parts) if part in CLASSES), 0)
    return Path(*parts[start:]) / name


def _why_odd(file: Path, relative: Path, line: Mapping[str, str]) -> str | None:
    if ".." in relative.parts or relative.is_absolute():
        return "its path leads out of the data set"
    if relative.parts[0] != line["type"]:
        return "it lies in the folder of another class"
    if line["source"] not in relative.parts[:-1]:
        return "it lies in the folder of another source"
    if not file.is_file():
        return "there is no such file"
    if not file.stat().st_size:
        return "the file is empty"
    return None if media_kind(file) == "video" else "it is no video by its name"


def _row(relative: Path, line: Mapping[str, str]) -> SampleRow:
    _, name, fake_video, fake_audio = CLASSES[line["type"]]
    return SampleRow(
        id=_id(relative),
        media={"video": str(relative)},
        group=line["source"],
        labels={
            "fake": int(fake_video or fake_audio),
            "fake_video": fake_video,
            "fake_audio": fake_audio,
            "class": name,
            "method": line["method"] or None,
            "race": line.get("race") or None,
            "gender": line.get("gender") or None,
            "target1": _target(line["target1"]),
            "target2": _target(line["target2"]),
        },
    )


def _id(relative: Path) -> str:
    return str(relative.with_suffix(""))


def _target(text: str) -> str | None:
    return None if text in ("", "-") else text


def _unlisted(root: Path, rows: Sequence[SampleRow], skipped: Sequence[Skipped]) -> list[Skipped]:
    """Return the files in the class folders that no line of `meta_data.csv` names."""
    named = {row.media["video"] for row in rows}
    for one in skipped:
        folder, _, name = one.what.partition(" (line ")[0].rpartition("/")
        named.add(str(_relative(folder, name)))
    lying = sorted(
        str(path.relative_to(root))
        for name in CLASSES
        for path in (root / name).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    return [Skipped(one, "it is not in meta_data.csv") for one in lying if one not in named]


def _split_by_lists(
    rows: Sequence[SampleRow], lists: Mapping[str, str | Path], warnings: list[str]
) -> tuple[list[SampleRow], list[Skipped]]:
    by_key = {_key(Path(row.media["video"])): row for row in rows}
    split: dict[Key, str] = {}
    for name, path in lists.items():
        unknown = 0
        for key in _listed(Path(path)):
            if split.setdefault(key, name) != name:
                raise ManifestError(
                    f"{path}: {'/'.join(key)} is in the list of {split[key]} too; a video is in "
                    "one split."
                )
            unknown += key not in by_key
        if unknown:
            warnings.append(f"{unknown} lines of {path} name videos that are not here")
    kept = [replace(row, split=split[key]) for key, row in by_key.items() if key in split]
    left = [
        Skipped(row.media["video"], "it is in none of the lists")
        for key, row in by_key.items()
        if key not in split
    ]
    if not kept:
        raise ManifestError(f"{', '.join(map(str, lists.values()))}: name none of the videos here.")
    return kept, left


def _listed(path: Path) -> Iterator[Key]:
    """Yield the videos of a public list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}).") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        named, _, label = line.strip().rpartition(" ")
        parts = Path(named).parts
        start = next((i for i, part in enumerate(parts) if part in CLASSES), None)
        if start is None or len(parts) - start < 3:
            raise ManifestError(
                f"{path}, line {number}: is not …/CLASS/RACE/GENDER/SOURCE/NAME LABEL, with a "
                f"class folder such as {next(iter(CLASSES))}."
            )
        name = CLASSES[parts[start]][1]
        if label != _LIST_LABELS[name]:
            raise ManifestError(
                f"{path}, line {number}: has the label {label!a} for a clip of {parts[start]}, "
                f"which is {_LIST_LABELS[name]}."
            )
        yield _key(Path(*parts[start:]))


def _key(relative: Path) -> Key:
    stem = relative.stem
    if relative.suffix.lower() in _PICTURES:
        stem = _FRAME.sub("", stem)
    return relative.parts[0], relative.parts[-2], stem


def _crossing(rows: Sequence[SampleRow]) -> list[str]:
    """Return the ids of clips whose target is the source of a clip in another split."""
    home = {row.group: row.split for row in rows}
    return sorted(
        row.id
        for row in rows
        for targets in [{row.labels["target1"], row.labels["target2"]}]
        if any(home.get(str(one), row.split) != row.split for one in targets if one)
    )


def _imbalance(rows: Sequence[SampleRow]) -> list[str]:
    real = [row for row in rows if not row.labels["fake"]]
    if 4 * len(real) > len(rows):
        return []
    test = sum(row.split == "test" for row in real)
    return [
        f"{len(real)} of {len(rows)} clips are real ({test} in test): accuracy tells little; read "
        "balanced accuracy and AUC with their intervals"
    ]
