"""What other people's libraries see in our shards, and what of theirs we refuse to read."""

import contextlib
import gc
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

from scfae.store.atomic import discard, sha256_file
from scfae.store.container import (
    ALIGNMENT_BYTES,
    SUFFIXES,
    Format,
)
from scfae.store.document import seal
from scfae.store.errors import CorruptShard
from scfae.store.receipt import Receipt
from scfae.store.shard import ShardReader
from scfae.store.webdataset import BLOCK_BYTES, INDEX

from .shard_contents import (
    DATA,
    FIRST,
    IDS,
    LENGTHS,
    OFFSETS,
    REASONS,
    STATUS,
    TIMES,
    locate,
    write,
)


def test_zarr_opens_a_shard(tmp_path: Path) -> None:
    path = write(tmp_path / "shard.zarr.zip")
    with zarr.storage.ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        arrays = {name: np.asarray(group[name]) for name in ("data", "offsets", "times")}
    assert arrays["data"].dtype == DATA.dtype
    assert arrays["data"].tobytes() == DATA.tobytes()
    assert arrays["offsets"].tolist() == OFFSETS.tolist()
    assert arrays["times"].tolist() == TIMES.tolist()


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
