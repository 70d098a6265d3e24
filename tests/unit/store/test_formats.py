"""What other people's libraries see in our shards, and what of theirs we refuse to read."""

import contextlib
import gc
import hashlib
import io
import json
import os
import re
import resource
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import webdataset
import zarr
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.atomic import discard, sha256_file, size_of
from scfae.store.container import (
    ALIGNMENT_BYTES,
    SUFFIXES,
    Format,
    Layout,
    ShardContents,
    container,
    format_of,
    open_shard,
    write_shard,
)
from scfae.store.document import seal
from scfae.store.errors import CorruptShard
from scfae.store.receipt import Receipt
from scfae.store.shard import ShardReader
from scfae.store.stored_zip import StoredZip
from scfae.store.webdataset import BLOCK_BYTES, INDEX

LENGTHS = [3, 0, 1, 5, 0]
OFFSETS = np.array([0, 3, 3, 4, 9, 9])
FIRST = 40
IDS = ["s0", "é1", "s2", "s3", "s4"]
STATUS = ["ok", "missing", "ok", "partial", "failed"]
REASONS = {1: "no sound", 3: "2 damaged packets — ü", 4: "cannot be decoded"}
DATA = np.random.default_rng(0).normal(size=(9, 4)).astype("float16")
TIMES = np.stack([np.arange(9), np.arange(9) + 0.5], axis=1)


def write(path: Path, modality: str = "video") -> Path:
    form = format_of(path.name)
    assert form is not None
    contents = ShardContents(
        DATA, OFFSETS, TIMES, modality, first=FIRST, ids=IDS, status=STATUS, reasons=REASONS
    )
    write_shard(path, contents, form=form)
    return path


def locate(path: Path) -> Layout:
    form = format_of(path.name)
    assert form is not None
    return container(form).locate(open_shard(path))


def test_zarr_opens_a_shard(tmp_path: Path) -> None:
    path = write(tmp_path / "shard.zarr.zip")
    with zarr.storage.ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        arrays = {name: np.asarray(group[name]) for name in ("data", "offsets", "times")}
    assert arrays["data"].dtype == DATA.dtype
    assert arrays["data"].tobytes() == DATA.tobytes()
    assert arrays["offsets"].tolist() == OFFSETS.tolist()
    assert arrays["times"].tolist() == TIMES.tolist()


def arrays_by_zarr(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = (
            zarr.storage.LocalStore(path, read_only=True)
            if path.is_dir()
            else zarr.storage.ZipStore(path, mode="r")
        )
        group = zarr.open_group(store, mode="r")
        arrays = {name: np.asarray(group[name]) for name in ("data", "offsets", "times")}
        store.close()
    return arrays


@pytest.mark.parametrize("form", ["zarr-zstd", "zarr-dir"])
def test_zarr_opens_a_folder_and_compressed_chunks(tmp_path: Path, form: Format) -> None:
    many = np.random.default_rng(1).normal(size=(5000, 30)).astype("float16")
    offsets = np.arange(0, 5001, 50)
    times = np.stack([np.arange(5000), np.arange(5000) + 0.5], axis=1)
    for contents in (ShardContents(DATA, OFFSETS, TIMES), ShardContents(many, offsets, times)):
        path = tmp_path / f"shard{SUFFIXES[form]}"
        write_shard(path, contents, form=form)
        arrays = arrays_by_zarr(path)
        assert arrays["data"].dtype == contents.data.dtype
        assert arrays["data"].tobytes() == contents.data.tobytes()
        assert arrays["offsets"].tolist() == contents.offsets.tolist()
        assert arrays["times"].tolist() == contents.times.tolist()


def test_a_sample_of_a_compressed_shard_decompresses_only_the_chunks_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(1).normal(size=(10_000, 64)).astype("float32")  # 40 chunks
    offsets = np.arange(0, 10_001, 100)
    path = tmp_path / "shard.zarr-zstd.zip"
    write_shard(path, ShardContents(rows, offsets, np.zeros((10_000, 2))), form="zarr-zstd")
    file = open_shard(path)
    layout = container("zarr-zstd").locate(file)
    asked: list[str] = []
    read = StoredZip.read

    def noting(archive: StoredZip, name: str) -> bytes:
        asked.append(name)
        return read(archive, name)

    monkeypatch.setattr(StoredZip, "read", noting)
    out = np.empty((100, 64), dtype="float32")
    assert file.read_into(out, int(layout.rows_at[5]))  # rows 500 to 600, 256 a chunk
    assert (out == rows[500:600]).all()
    assert asked == ["data/c/1/0", "data/c/2/0"]
    buffers = [np.empty((100, 64), dtype="float32") for _ in range(10)]
    views = [buffer.view(np.uint8).reshape(-1).data for buffer in buffers]
    assert file.read_into_many(views, int(layout.rows_at[90]))
    assert (np.concatenate(buffers) == rows[9000:]).all()
    assert len(asked) == len(set(asked)) == 7
    assert not file.read_into(out, int(layout.rows_at[99]) + 256)


def zstd_zip(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a compressed shard again, with changed members."""
    write(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return path


def described_as(name: str, old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        text = members[f"{name}/zarr.json"].decode()
        assert old in text
        members[f"{name}/zarr.json"] = text.replace(old, new).encode()

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (described_as("data", '"zstd"', '"gzip"'), "data is not cut into zstd chunks"),
        (described_as("data", "[9, 4]}", "[9, 2]}"), "data is not cut into zstd chunks"),
        (described_as("data", '"chunk_shape": [9, 4]', '"chunk_shape": [0, 4]'), "not cut into"),
        (described_as("data", '"chunk_shape": [9', f'"chunk_shape": [{1 << 40}'), "are of"),
        (described_as("data", '"shape": [9', f'"shape": [{1 << 20}'), "of data are not there"),
        (described_as("times", '"shape": [9', '"shape": [8'), "times are"),
        (described_as("offsets", '"int64"', '"int32"'), "offsets are int32"),
        (lambda members: members.pop("data/c/0/0"), "chunks of data are not there"),
        (lambda members: members.update({"offsets/c/0": b"no zstd"}), "ends inside offsets"),
    ],
    ids=range(9),
)
def test_a_compressed_shard_that_lies_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        locate(zstd_zip(tmp_path / "shard.zarr-zstd.zip", change))


def test_a_file_of_a_folder_that_has_been_replaced_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "shard.zarr")
    file = open_shard(path)
    layout = container("zarr-dir").locate(file)
    rows, times = np.empty((3, 4), dtype="float16"), np.empty((3, 2))
    assert file.read_into(times, int(layout.times_at[0]))
    write(path)
    assert file.read_into(rows, int(layout.rows_at[0]))  # of the folder that is still open
    assert not file.read_into(times, int(layout.times_at[0]))


def test_the_digest_of_a_folder_is_that_of_the_names_and_bytes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "x" / "b").mkdir(parents=True)
    (tmp_path / "x" / "a").write_bytes(b"1")
    (tmp_path / "x" / "b" / "c").write_bytes(b"23")
    one, other = (hashlib.sha256(data).hexdigest() for data in (b"1", b"23"))
    wanted = hashlib.sha256(f"a {one}\nb/c {other}\n".encode()).hexdigest()
    assert (sha256_file(tmp_path / "x"), size_of(tmp_path / "x")) == (wanted, 3)
    (tmp_path / "x" / "link").symlink_to("a")
    assert sha256_file(tmp_path / "x") != wanted


def test_chunks_of_a_zip_are_stored_and_uncompressed(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "shard.zarr.zip")) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.namelist()[-1] == "data/c/0/0"


def test_h5py_opens_a_shard(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "shard.h5")) as file:
        assert sorted(file) == ["data", "ids", "offsets", "reasons", "status", "times"]
        assert file["data"].dtype == DATA.dtype
        assert file["data"][:].tobytes() == DATA.tobytes()
        assert file["offsets"][:].tolist() == OFFSETS.tolist()
        assert file["times"][:].tolist() == TIMES.tolist()
        assert file["ids"].asstr()[:].tolist() == IDS
        assert file["status"].asstr()[:].tolist() == STATUS
        assert file["reasons"].asstr()[:].tolist() == [REASONS.get(i, "") for i in range(5)]
        assert (file.attrs["modality"], file.attrs["first"]) == (b"video", FIRST)
        assert all(dataset.chunks is None for dataset in file.values())


def expected_json(i: int) -> dict[str, Any]:
    facts = {"id": IDS[i], "status": STATUS[i], "reason": REASONS.get(i)}
    return {**facts, "rows": LENGTHS[i], "dim": 4}


def by_webdataset(path: Path) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the collector
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False).decode())
        gc.collect()
    return samples


def test_webdataset_opens_a_shard(tmp_path: Path) -> None:
    path = write(tmp_path / "shard.tar")
    samples = by_webdataset(path)
    assert [sample["__key__"] for sample in samples] == [f"{FIRST + i:09d}" for i in range(5)]
    for i, sample in enumerate(samples):
        assert sample["json"] == expected_json(i)
        assert ("video.npy" in sample) == ("times.npy" in sample) == bool(LENGTHS[i])
        if LENGTHS[i]:
            rows = DATA[OFFSETS[i] : OFFSETS[i + 1]]
            assert sample["video.npy"].dtype == rows.dtype
            assert sample["video.npy"].tobytes() == rows.tobytes()
            assert sample["times.npy"].tolist() == TIMES[OFFSETS[i] : OFFSETS[i + 1]].tolist()


def test_tarfile_opens_a_shard_whose_samples_are_adjacent_and_without_clock_or_owner(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "shard.tar")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        first = archive.extractfile("000000040.video.npy")
        assert first is not None
        assert (np.load(io.BytesIO(first.read())) == DATA[:3]).all()
        facts = archive.extractfile("000000041.json")
        assert facts is not None
        assert json.load(facts) == expected_json(1)
    assert [member.name for member in members[:5]] == [
        INDEX,
        "000000040.video.npy",
        "000000040.times.npy",
        "000000040.json",
        "000000041.json",
    ]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in members} == {
        (0, 0, 0, "", "")
    }
    assert path.read_bytes()[257:265] == b"ustar\x0000"


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, form: Format) -> None:
    path = write(tmp_path / f"shard{SUFFIXES[form]}")
    num_bytes = max(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
    discard(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 100, num_bytes // 2, num_bytes - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", SUFFIXES)
def test_rows_lie_aligned(tmp_path: Path, form: Format) -> None:
    layout = locate(write(tmp_path / f"shard{SUFFIXES[form]}"))
    assert layout.rows_at[0] % ALIGNMENT_BYTES == 0
    assert layout.lengths.tolist() == LENGTHS


@given(modality=st.text(max_size=120))
def test_whatever_the_modality_a_tar_has_safe_names_and_gives_the_rows(
    tmp_path_factory: pytest.TempPathFactory, modality: str
) -> None:
    path = write(tmp_path_factory.mktemp("names") / "shard.tar", modality)
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert len({name.lower() for name in names}) == len(names)
    for name in names[1:]:
        assert re.fullmatch(r"[0-9]{9}\.([A-Za-z0-9_-]+\.npy|json)", name)
    assert locate(path).lengths.tolist() == LENGTHS


@pytest.mark.parametrize("modality", ["../../etc", "times", "TIMES", "a/b", "", "v" * 300])
def test_a_modality_that_is_no_file_name_is_made_one(tmp_path: Path, modality: str) -> None:
    path = write(tmp_path / "shard.tar", modality)
    assert len(by_webdataset(path)) == 5
    with tarfile.open(path) as archive:
        names = archive.getnames()[1:4]
    assert names[1:] == ["000000040.times.npy", "000000040.json"]
    assert names[0].removeprefix("000000040.") in {
        "-etc.npy",
        "data.npy",
        "a-b.npy",
        f"{'v' * 80}.npy",
    }


def hdf5(path: Path, change: Callable[[h5py.File], None]) -> Path:
    """Write an HDF5 file like ours, but for a change."""
    with h5py.File(path, "w") as file:
        for name, array in (("data", DATA), ("times", TIMES), ("offsets", OFFSETS)):
            file[name] = array
        change(file)
    return path


def replace(name: str, make: Callable[[h5py.File], object]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        make(file)

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=DATA.shape, dtype=DATA.dtype)
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", shape=DATA.shape)
    file.create_virtual_dataset("data", layout)


def external_storage(file: h5py.File) -> None:
    where = [("/etc/passwd", 0, DATA.nbytes)]
    file.create_dataset("data", shape=DATA.shape, dtype=DATA.dtype, external=where)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (replace("data", lambda f: f.update(data=h5py.ExternalLink("o.h5", "data"))), "a link"),
        (replace("data", lambda f: f.update(data=h5py.SoftLink("/times"))), "a link"),
        (replace("data", virtual), "virtual or kept in another file"),
        (replace("data", external_storage), "virtual or kept in another file"),
        (replace("data", lambda f: f.create_dataset("data", data=DATA, chunks=(3, 4))), "chunked"),
        (replace("data", lambda f: f.create_dataset("data", data=DATA, compression=1)), "chunked"),
        (replace("data", lambda f: None), "data is not there"),
        (replace("data", lambda f: f.create_group("data")), "data is no dataset of 2 axes"),
        (replace("data", lambda f: f.update(data=DATA[0])), "data is no dataset of 2 axes"),
        (replace("data", lambda f: f.update(data=DATA[1:])), "times are"),
        (replace("data", lambda f: f.create_dataset("data", (9, 4), "f2")), "never written"),
        (replace("times", lambda f: f.update(times=TIMES.astype(">f8"))), "times are >f8"),
        (replace("offsets", lambda f: f.update(offsets=OFFSETS[::-1])), "do not divide"),
        (replace("offsets", lambda f: f.update(offsets=OFFSETS[:0])), "do not divide"),
        (replace("offsets", lambda f: f.update(offsets=OFFSETS.astype("i4"))), "offsets are int32"),
    ],
    ids=range(15),
)
def test_an_hdf5_file_that_is_not_flat_and_its_own_is_refused(
    tmp_path: Path, change: Callable[[h5py.File], None], what: str
) -> None:
    assert locate(hdf5(tmp_path / "like-ours.h5", lambda file: None)).dim == 4
    with pytest.raises(ValueError, match=what):
        locate(hdf5(tmp_path / "shard.h5", change))


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def index(**fields: Any) -> bytes:
    lists = {"lengths": [1], "rows_at": [0], "times_at": [0]}
    return seal({"dtype": "float32", "dim": 2, **lists, **fields})


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([("000000000.video.npy", b"")], "its first member is '000000000.video.npy'"),
        ([("../evil", b""), (INDEX, index())], r"its first member is '\.\./evil'"),
        ([(INDEX, index()[:-3])], "its bytes do not agree with its own checksum"),
        ([(INDEX, index().replace(b"[1]", b"[2]"))], "do not agree with its own checksum"),
        ([(INDEX, index(lengths=[1, 1]))], "differ in length"),
        ([], "end of file header"),
    ],
    ids=range(6),
)
def test_a_tar_without_a_whole_index_in_front_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], what: str
) -> None:
    with pytest.raises(Exception, match=what):
        locate(tar(tmp_path / "shard.tar", members))


def test_an_index_larger_than_its_file_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tar(tmp_path / "shard.tar", [(INDEX, index())])
    info = tarfile.TarInfo(INDEX)
    info.size = 1 << 32
    header = info.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(header + path.read_bytes()[BLOCK_BYTES:])
    with pytest.raises(ValueError, match="ends inside its index"):
        locate(path)


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_fork_while_threads_parse_shards_does_not_hang(tmp_path: Path, form: Format) -> None:
    path = write(tmp_path / f"shard{SUFFIXES[form]}")
    stop = threading.Event()

    def parse() -> None:
        while not stop.is_set():
            locate(path)

    threads = [threading.Thread(target=parse) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                with contextlib.suppress(Exception):
                    os._exit(0 if locate(path).dim == 4 else 1)
                os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"rows_at": [1 << 40]}, "has rows outside of it"),
        ({"rows_at": [-(1 << 20)]}, "has rows outside of it"),
        ({"times_at": [1 << 20]}, "has times outside of it"),
        ({"times_at": [1 << 70]}, "is not a readable shard"),
        ({"dim": 1 << 40}, "has rows outside of it"),
        ({"dim": 0}, r"holds float32 \[R, 0\]"),
        ({"dtype": "object"}, "holds object"),
        ({"dtype": "int32"}, "holds int32"),
    ],
    ids=str,
)
def test_an_index_that_lies_is_refused(tmp_path: Path, fields: dict[str, Any], what: str) -> None:
    path = tar(tmp_path / "shard.tar", [(INDEX, index(**fields)), ("rows", bytes(64))])
    receipt = Receipt(
        column="ge2e",
        shard=0,
        fingerprint="f",
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256_file(path),
        rows=1,
        lengths=[1],
        status=["ok"],
        reasons={},
        media=[None],
        ids_sha256="i",
    )
    with pytest.raises(CorruptShard, match=what):
        ShardReader(path, receipt).rows(0)
