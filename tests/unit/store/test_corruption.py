"""A thousand random damages to a store of each format: found by `verify`, or harmless.

Bytes are altered, files cut off, swapped and deleted. Whatever the damage, a reader answers with
rows or with an error of ours, and one that checks only with right rows; once `requeue` has
withdrawn what `verify` found, all the rows that are left are right.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore, verify
from scfae.store.container import SUFFIXES, Format
from scfae.store.errors import StoreError, StoreNotFound
from scfae.store.files import Check
from scfae.store.testing import make_store
from scfae.store.verification import requeue

Rows = dict[tuple[str, int], bytes | str]


def unit_of(path: Path) -> Path:
    """Return what a receipt stands for: the file, or the folder that it lies in."""
    folders = [one for one in path.parents if one.suffix == ".zarr"]
    return folders[0] if folders else path


def flip(file: Path, store: Path, chance: random.Random) -> list[Path]:
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= chance.randint(1, 255)
    file.write_bytes(data)
    return [file]


def cut(file: Path, store: Path, chance: random.Random) -> list[Path]:
    data = file.read_bytes()
    file.write_bytes(data[: chance.randrange(len(data))])
    return [file]


def delete(file: Path, store: Path, chance: random.Random) -> list[Path]:
    file.unlink()
    return [file]


def swap(file: Path, store: Path, chance: random.Random) -> list[Path]:
    """Exchange two shard files, or two receipts, of one column or of two."""
    file = unit_of(file)
    alike = {p for p in store.rglob("shard-*") if p.suffix == file.suffix} - {file}
    if not alike:
        return cut(file, store, chance)
    other = chance.choice(sorted(alike))
    aside = file.with_name(".tmp-swap")
    for source, target in ((file, aside), (other, file), (aside, other)):
        source.rename(target)
    return [file, other]


DAMAGES: list[Callable[[Path, Path, random.Random], list[Path]]] = [flip, cut, delete, swap]


@contextmanager
def damaged(store: Path, damage: Any, chance: random.Random) -> Iterator[list[Path]]:
    """Damage a random file and mend the store afterwards."""
    files = {p: p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}
    shards = [p for p in files if unit_of(p).name.startswith("shard-")]
    # Shards are most of a real store's bytes: so most of the damage is theirs.
    file = chance.choice(shards if damage is swap or chance.random() < 0.8 else list(files))
    try:
        yield damage(file, store, chance)
    finally:
        for path, data in files.items():
            if not path.exists() or path.read_bytes() != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def read(store: Path, *, check: Check = "never") -> Rows:
    """Return the rows and times of every sample of every column, or the error in their place."""
    try:
        opened = FeatureStore.open(store, check=check)
        columns = {name: opened.column(name) for name in ("audio", "video")}
    except StoreError as error:
        return {("", 0): type(error).__name__}
    found: Rows = {}
    for name, column in columns.items():
        for index in range(len(opened.samples)):
            try:
                rows, times = column.rows(index), column.times(index)
                assert rows.shape == (len(times), column.info.dim)
                assert times.shape == (len(rows), 2)
                found[name, index] = rows.tobytes() + times.tobytes()
            except StoreError as error:
                found[name, index] = type(error).__name__
    return found


def assert_right(found: Rows, whole: Rows) -> None:
    """Check that every sample has its own rows, or none for a reason."""
    wrong = [key for key, rows in found.items() if isinstance(rows, bytes) and rows != whole[key]]
    assert wrong == []


def shard_of(path: Path) -> tuple[str, int] | None:
    return (path.parent.name, int(path.name[6:11])) if path.name.startswith("shard-") else None


def campaign(store: Path, num_damages: int) -> Counter[str]:
    """Damage a store again and again; return how often it was found and how often harmless."""
    chance = random.Random(0)
    whole = read(store)
    assert all(isinstance(rows, bytes) for rows in whole.values())
    counts: Counter[str] = Counter()
    for turn in range(num_damages):
        damage = DAMAGES[turn % len(DAMAGES)]
        with damaged(store, damage, chance) as files:
            touched = [unit_of(file) for file in files]
            what = f"{damage.__name__} {[str(p.relative_to(store)) for p in touched]}"
            seen = read(store)
            assert_right(read(store, check="first-read"), whole)
            try:
                found = verify(store)
            except StoreNotFound:
                assert (damage, touched) == (delete, [store / "store.json"])
                counts["found"] += 1
                continue
            if found:
                assert {store / one.file for one in found} == set(touched), what
                assert {one.shard for one in found if one.shard is not None} == {
                    shard[1] for shard in map(shard_of, touched) if shard
                }, what
            else:
                # Nothing but a shard that is not there any more, as one not extracted yet.
                assert damage is delete, what
                assert touched[0].name.startswith("shard-"), what
                assert_right(seen, whole)
            if all(one.shard is not None for one in found):
                assert sorted(requeue(store, found).withdrawn) == sorted(
                    {shard for shard in map(shard_of, touched) if shard and found}
                ), what
                assert verify(store) == [], what
                assert_right(read(store), whole)
        counts["found" if found else "harmless"] += 1
    assert read(store) == whole
    return counts


def make(path: Path, form: Format, max_rows: int) -> Path:
    # With one row a sample all shards of both columns are of one size and of equal lengths: when
    # two are swapped, nothing but their checksums tells.
    store = make_store(
        path,
        num_samples=12,
        shard_size=3,
        dims={"video": 3, "audio": 3},
        max_rows=max_rows,
        missing=0.0 if max_rows == 1 else 0.2,
        form=form,
    )
    return store.path


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_few_damages_are_found_or_harmless(tmp_path: Path, form: Format) -> None:
    counts = campaign(make(tmp_path / "store", form, 1), 16)
    assert counts["found"] > 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("max_rows", [1, 4])
@pytest.mark.parametrize("form", SUFFIXES)
def test_a_thousand_damages_are_found_or_harmless(
    tmp_path: Path, form: Format, max_rows: int
) -> None:
    counts = campaign(make(tmp_path / "store", form, max_rows), 500)
    assert counts["found"] > 400
