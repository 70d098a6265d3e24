"""A shard's file of any format: the same bytes for the same features, never read half."""

import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import files
from scfae.store.atomic import discard, sha256_file
from scfae.store.container import SUFFIXES, Format, ShardContents, format_of, write_shard
from scfae.store.errors import CorruptShard
from scfae.store.files import FilePool, OpenFile
from scfae.store.receipt import Receipt
from scfae.store.shard import ShardReader

LENGTHS = [3, 0, 1, 5, 0]
DIM = 4
STEP = 7  # every eighth byte is altered


def bytes_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of a shard's file, or of all files of its folder."""
    files = [path, *sorted(path.rglob("*"))]
    return {str(p.relative_to(path)): p.read_bytes() for p in files if p.is_file()}


def data_file(path: Path) -> Path:
    """Return the file that holds a shard's rows."""
    return path / "data" / "c" / "0" / "0" if path.is_dir() else path


def features(lengths: list[int], dtype: str = "float32", dim: int = DIM) -> npt.NDArray[Any]:
    return np.random.default_rng(0).normal(size=(sum(lengths), dim)).astype(dtype)


@pytest.fixture(params=SUFFIXES)
def form(request: pytest.FixtureRequest) -> Format:
    name: Format = request.param
    return name


@pytest.fixture
def path(tmp_path: Path, form: Format) -> Path:
    return tmp_path / f"shard{SUFFIXES[form]}"


def write(
    path: Path, lengths: list[int], *, dtype: str = "float32", data: npt.NDArray[Any] | None = None
) -> Receipt:
    form = format_of(path.name)
    assert form is not None
    rows = features(lengths, dtype) if data is None else data
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    times = np.stack([np.arange(len(rows)), np.arange(len(rows)) + 0.5], axis=1)
    written = write_shard(path, ShardContents(rows, offsets, times), form=form)
    return Receipt(
        column="ge2e",
        shard=7,
        fingerprint="f",
        file=path.name,
        bytes=written.num_bytes,
        sha256=written.sha256,
        rows=len(rows),
        lengths=lengths,
        status=["ok"] * len(lengths),
        reasons={},
        media=[None] * len(lengths),
        ids_sha256="i",
    )


def read_everything(reader: ShardReader, num_samples: int) -> list[tuple[Any, Any]]:
    return [(reader.rows(i), reader.times(i)) for i in range(num_samples)]


def attempt(path: Path, receipt: Receipt) -> list[int] | str:
    """Return the lengths that a reader gives, or its error."""
    try:
        return [len(rows) for rows, _ in read_everything(ShardReader(path, receipt), len(LENGTHS))]
    except CorruptShard as error:
        return str(error)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("lengths", [LENGTHS, [0, 0], [], [1], [0, 2], [2, 0]], ids=str)
def test_our_reader_gives_what_was_written(path: Path, lengths: list[int], dtype: str) -> None:
    receipt = write(path, lengths, dtype=dtype)
    data = features(lengths, dtype)
    reader = ShardReader(path, receipt)
    assert (reader.dim, reader.dtype) == (DIM, np.dtype(dtype))
    bounds = np.cumsum([0, *lengths])
    for i, T in enumerate(lengths):
        rows = reader.rows(i)
        assert rows.dtype == data.dtype
        assert rows.shape == (T, DIM)
        assert (rows == data[bounds[i] : bounds[i + 1]]).all()
        assert (reader.times(i)[:, 0] == np.arange(bounds[i], bounds[i + 1])).all()
    reader.verify()


@given(
    form=st.sampled_from(list(SUFFIXES)),
    lengths=st.lists(st.integers(0, 5), max_size=8),
    dim=st.integers(1, 70),
    dtype=st.sampled_from(["float32", "float16"]),
    seed=st.integers(0, 99),
)
def test_any_bits_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    form: Format,
    lengths: list[int],
    dim: int,
    dtype: str,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("bits") / f"shard{SUFFIXES[form]}"
    num_bytes = sum(lengths) * dim * np.dtype(dtype).itemsize
    bits = np.random.default_rng(seed).bytes(num_bytes)  # also NaN payloads and subnormals
    data = np.frombuffer(bits, dtype=dtype).reshape(sum(lengths), dim)
    receipt = write(path, lengths, data=data)
    reader = ShardReader(path, receipt)
    assert b"".join(reader.rows(i).tobytes() for i in range(len(lengths))) == bits


def test_the_same_features_give_the_same_bytes(tmp_path: Path, form: Format) -> None:
    paths = [tmp_path / f"{name}{SUFFIXES[form]}" for name in "abc"]
    receipts = [write(path, LENGTHS) for path in paths[:2]]
    assert bytes_of(paths[0]) == bytes_of(paths[1])
    assert receipts[0].sha256 == receipts[1].sha256 == sha256_file(paths[0])
    changed = features(LENGTHS)
    changed[0, 0] += 1
    assert write(paths[2], LENGTHS, data=changed).sha256 != receipts[0].sha256


def test_memory_layout_and_byte_order_of_the_input_do_not_matter(path: Path) -> None:
    data = features(LENGTHS)
    wanted = write(path, LENGTHS, data=data).sha256
    assert write(path, LENGTHS, data=np.asfortranarray(data)).sha256 == wanted
    assert write(path, LENGTHS, data=data.astype(">f4")).sha256 == wanted


def test_truncation_to_any_length_is_an_error_that_names_column_shard_and_file(path: Path) -> None:
    receipt = write(path, LENGTHS)
    file = data_file(path)
    whole = file.read_bytes()
    for size in (*range(0, len(whole), 97), len(whole) - 1):
        file.write_bytes(whole[:size])
        left = receipt.bytes - len(whole) + size
        with pytest.raises(CorruptShard, match=f"column 'ge2e', shard 7: {path} has {left} bytes"):
            ShardReader(path, receipt).rows(0)


def test_a_file_cut_off_behind_the_readers_back_is_an_error(path: Path, form: Format) -> None:
    reader = ShardReader(path, write(path, LENGTHS))
    reader.rows(0)
    os.truncate(data_file(path), 50)
    if form == "zarr-zstd":  # so small a zip is in memory as a whole
        assert (reader.rows(3) == features(LENGTHS)[4:9]).all()
        return
    with pytest.raises(CorruptShard, match=r"column 'ge2e', shard 7: .* ends inside data"):
        reader.rows(3)


def test_a_pool_that_checks_gives_no_row_of_a_damaged_file(path: Path, form: Format) -> None:
    receipt = write(path, LENGTHS)
    file = data_file(path)
    whole = file.read_bytes()
    if form == "zarr-zstd":  # whose chunks are checked whenever they are read
        damaged = whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:]
        file.write_bytes(damaged)
    else:
        damaged = whole.replace(features(LENGTHS)[:1].tobytes(), bytes(4 * DIM), 1)
        file.write_bytes(damaged)
        assert (ShardReader(path, receipt).rows(0)[0] == 0).all()
    assert damaged != whole
    pool = FilePool(check="always")
    for checking in (pool, pickle.loads(pickle.dumps(pool))):
        with pytest.raises(CorruptShard, match=f"{path} differs from the sha256"):
            ShardReader(path, receipt, pool=checking).rows(0)
    file.write_bytes(whole)
    assert len(ShardReader(path, receipt, pool=pool).rows(0)) == LENGTHS[0]


def test_a_pool_that_checks_at_first_reads_a_file_whole_once_until_it_changes(
    path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = write(path, LENGTHS)
    wanted = ShardReader(path, receipt).rows(0)
    hashed: list[int] = []
    sha256 = OpenFile.sha256

    def noting(file: OpenFile) -> str:
        hashed.append(file.num_bytes)
        return sha256(file)

    monkeypatch.setattr(OpenFile, "sha256", noting)

    def read_anew() -> npt.NDArray[Any]:
        return ShardReader(path, receipt, pool=FilePool(check="first-read")).rows(0)

    def age(file: Path) -> None:
        os.utime(file, ns=(0, 0))
        monkeypatch.setattr(files, "_YOUNG_NS", -1)  # the time of the last change cannot be set

    if form == "zarr-dir":  # whose files have no one date: it is checked at every opening
        damage = data_file(path).read_bytes()
        data_file(path).write_bytes(bytes(len(damage)))
        with pytest.raises(CorruptShard, match="differs from the sha256"):
            read_anew()
        return
    read_anew()
    read_anew()
    assert len(hashed) == 2  # as long as it is young
    age(path)
    for _ in range(3):
        assert (read_anew() == wanted).all()
    assert len(hashed) == 3
    whole = path.read_bytes()
    path.write_bytes(whole[:-300] + bytes([whole[-300] ^ 1]) + whole[-299:])
    with pytest.raises(CorruptShard, match="differs from the sha256"):
        read_anew()


def test_a_missing_file_is_an_error_that_names_it(path: Path) -> None:
    receipt = write(path, LENGTHS)
    discard(path)
    with pytest.raises(CorruptShard, match=f"column 'ge2e', shard 7: {path} is gone"):
        ShardReader(path, receipt).rows(0)


def test_an_altered_byte_anywhere_is_refused_or_leaves_structure_and_lengths_alone(
    path: Path,
) -> None:
    receipt = write(path, LENGTHS)
    files = [p for p in (path, *sorted(path.rglob("*"))) if p.is_file()]
    num_refused = 0
    for file, place in [(p, k) for p in files for k in range(0, p.stat().st_size, 1 + STEP)]:
        whole = file.read_bytes()
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        file.write_bytes(altered)
        with pytest.raises(CorruptShard, match=f"column 'ge2e', shard 7: {path} differs"):
            ShardReader(path, receipt).verify()
        got = attempt(path, receipt)
        if isinstance(got, str):
            assert f"column 'ge2e', shard 7: {path} " in got
            num_refused += 1
        else:
            assert got == LENGTHS
        file.write_bytes(whole)
    assert num_refused > 5


@pytest.mark.parametrize(
    ("lengths", "what"),
    [([3, 0, 1, 5], "another number of samples"), ([3, 0, 1, 4, 1], "other lengths")],
)
def test_the_receipt_of_other_samples_is_refused(path: Path, lengths: list[int], what: str) -> None:
    receipt = write(path, LENGTHS)
    other = receipt.model_copy(update={"lengths": lengths, "status": ["ok"] * len(lengths)})
    with pytest.raises(CorruptShard, match=what):
        ShardReader(path, other).rows(0)


def test_a_reader_survives_a_fork(path: Path) -> None:
    reader = ShardReader(path, write(path, LENGTHS), pool=FilePool())
    wanted = read_everything(reader, len(LENGTHS))[3][0].tobytes()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, reader.rows(3).tobytes())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        got = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert got == wanted == reader.rows(3).tobytes()


def test_threads_may_share_a_reader_and_a_pool_smaller_than_their_number(
    tmp_path: Path, form: Format
) -> None:
    pool = FilePool(capacity=1)
    paths = [tmp_path / f"{k}{SUFFIXES[form]}" for k in range(3)]
    readers = [ShardReader(path, write(path, LENGTHS), pool=pool) for path in paths]
    wanted = read_everything(readers[0], len(LENGTHS))
    wrong: list[int] = []

    def read(number: int) -> None:
        for turn in range(60):
            i = (turn + number) % len(LENGTHS)
            if not (readers[(turn * number) % 3].rows(i) == wanted[i][0]).all():
                wrong.append(i)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(pool) == 1


def test_a_pool_keeps_the_last_used_files_and_closes_the_others(tmp_path: Path) -> None:
    def num_open() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        there = (str(link.readlink()) for link in links if link.is_symlink())
        return sum(name.startswith(str(tmp_path)) for name in there)

    pool = FilePool(capacity=2)
    for name in "abc":
        (tmp_path / name).write_text(name)
        pool.get(tmp_path / name)
    assert (len(pool), num_open()) == (2, 2)
    kept = pool.get(tmp_path / "b")
    assert pool.get(tmp_path / "b") is kept
    pool.forget(tmp_path / "b")
    assert pool.get(tmp_path / "b") is not kept
    assert len(pickle.loads(pickle.dumps(pool))) == 0
    with pytest.raises(FileNotFoundError):
        pool.get(tmp_path / "d")
    del kept, pool
    assert num_open() == 0


def test_a_shard_that_took_the_place_of_another_is_read_anew(path: Path) -> None:
    pool = FilePool()
    other = path.with_name(f"other-{path.name}")
    old = ShardReader(path, write(path, LENGTHS), pool=pool)
    before = old.rows(0)
    receipt = write(other, LENGTHS, data=features(LENGTHS) + 1)
    discard(path)
    shutil.move(other, path)
    assert (ShardReader(path, receipt, pool=pool).rows(0) == before + 1).all()
    assert (old.rows(0) == before).all()
