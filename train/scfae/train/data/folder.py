"""Class folders: `ROOT/CLASS/…` or `ROOT/SPLIT/CLASS/…` become a manifest with a label.

Files of one sample share their folder and their name up to the suffix, as everywhere. Where no
folder names splits, samples are dealt by group: `group` is a pattern whose first bracket is found
in a sample's path below ROOT (a speaker, a scene); without one every sample is its own group.
"""

import re
from pathlib import Path
from typing import Any

from scfae.extract import media_kind, read_inputs
from scfae.store import SampleRow
from scfae.store.errors import ConfigError, ManifestError

from .manifest import check_manifest_path, write_manifest
from .report import DataReport, Skipped, shared_groups
from .splitting import Shares, carve_val, most_frequent, split_by_group

_NO_GROUP = "its path has no group"


def prepare_folder(
    root: str | Path,
    manifest: str | Path,
    *,
    label: str = "class",
    group: str | None = None,
    shares: Shares | None = None,
) -> DataReport:
    """Write a manifest of a tree of class folders.

    Args:
        root: The folder; its folders are the classes, or splits that hold the classes.
        manifest: The `.csv` to write.
        label: Name of the label.
        group: A pattern with one bracket, searched in `CLASS/…/NAME`, e.g. `speaker([0-9]+)`.
        shares: Of the split by group, stratified by class, where no folder names splits; where
            one does but none is val, `val` of it is carved out of train.

    Raises:
        ManifestError: If there is no folder, or nothing in it is media in a class folder.
        ConfigError: If the pattern or the manifest's path cannot be used.
    """
    root, manifest = Path(root), Path(manifest)
    check_manifest_path(manifest)
    shares = shares or Shares()
    if not root.is_dir():
        raise ManifestError(f"{root}: there is no such folder.")
    rows, skipped = _read(root, label, _pattern(group))
    if not rows and any(one.why.startswith(_NO_GROUP) for one in skipped):
        raise ConfigError(f"--group: no path of {root} in a class folder has {group!r}.")
    if not rows:
        raise ManifestError(f"{root}: no media lie in folders of their class.")
    splits = {row.split for row in rows}
    warnings: list[str] = []
    how: dict[str, Any]
    if splits == {None}:
        by = "sample" if group is None else f"group {group}"
        rows = split_by_group(rows, shares, most_frequent(rows, label))
        how = shares.record(f"{by}, stratified by {label}")
    else:
        how = {"by": "folders"}
        outside = [row.id for row in rows if row.split is None]
        if outside:
            warnings.append(
                f"{len(outside)} samples lie in no folder of a split, e.g. {outside[0]}"
            )
        if "train" in splits and "val" not in splits and shares.val:
            rows = carve_val(rows, shares)
            how |= {"val": "groups of train", "val_share": shares.val, "seed": shares.seed}
        shared = shared_groups(rows)
        if shared:
            warnings.append(f"{len(shared)} groups are in more than one split, e.g. {shared[0]}")
    if group is None:
        warnings.append(
            "no group is known: samples of one person or scene may be on both sides; name one "
            "with --group"
        )
    write_manifest(manifest, rows, root)
    report = DataReport(
        layout="folder",
        source=str(root),
        out=str(manifest),
        rows=tuple(rows),
        skipped=tuple(skipped),
        split=how,
        targets=(label,),
        warnings=tuple(warnings),
    )
    report.write()
    return report


def _pattern(group: str | None) -> re.Pattern[str] | None:
    if group is None:
        return None
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise ConfigError(f"--group: {group!r} is no pattern ({error}).") from None
    if pattern.groups != 1:
        raise ConfigError(f"--group: {group!r} has {pattern.groups} brackets; it must have one.")
    return pattern


def _read(
    root: Path, label: str, pattern: re.Pattern[str] | None
) -> tuple[list[SampleRow], list[Skipped]]:
    rows: list[SampleRow] = []
    skipped: list[Skipped] = []
    for item in read_inputs(root):
        parts = Path(item.id).parts
        inside = parts[1:] if item.split is not None else parts
        if len(inside) < 2:
            why = "it lies in no class folder"
            skipped += [Skipped(path, why) for path in item.paths.values()]
            continue
        found = None if pattern is None else pattern.search("/".join(inside))
        if pattern is not None and found is None:
            why = f"{_NO_GROUP} {pattern.pattern}"
            skipped += [Skipped(path, why) for path in item.paths.values()]
            continue
        rows.append(
            SampleRow(
                item.id,
                media=dict(item.paths),
                split=item.split,
                group=None if found is None else found[1],
                labels={label: inside[0]},
            )
        )
    return rows, skipped + _not_media(root)


def _not_media(root: Path) -> list[Skipped]:
    """Return the files that are no media by their name; hidden ones do not count."""
    lying = sorted(path for path in root.rglob("*") if path.is_file() and media_kind(path) is None)
    relative = [path.relative_to(root) for path in lying]
    return [
        Skipped(str(one), "it is no media by its name")
        for one in relative
        if not any(part.startswith(".") for part in one.parts)
    ]
