"""`scfae store import`: what it prints, and hostile sources, each refused with one sentence."""

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from scfae.cli import main
from scfae.store import FeatureStore

Refused = Callable[..., str]

ROWS = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that imports, expects a refusal in one sentence and no store."""

    def run(source: Path, *words: object, status: int = 1) -> str:
        store = tmp_path / "store"
        flags = [str(word) for word in ("--column", "a", "--modality", "audio", *words)]
        tracemalloc.start()
        try:
            got = main(["store", "import", str(source), str(store), *flags])
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        said = capsys.readouterr().err.strip()
        assert got == status, said
        assert said.startswith("scfae: ")
        assert "\n" not in said
        assert not store.exists()
        assert peak_bytes < 64 << 20
        return said

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "features"
    made.mkdir()
    np.save(made / "good.npy", ROWS)
    return made


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def test_a_folder_becomes_a_column_and_the_same_again_does_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["store", "import", folder, tmp_path / "store", "--column", "a", "--modality", "audio"]
    assert main([*map(str, words), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"ok": 1, "partial": 0, "missing": 0, "failed": 0}
    assert main([*map(str, words), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shards_imported"] == 0
    info = FeatureStore.open(tmp_path / "store").column("a").info
    assert (info.encoder, info.weights) == ("imported:folder", "none")
    np.save(folder / "good.npy", ROWS + 1)
    assert main([*map(str, words)]) == 1
    assert "made differently" in capsys.readouterr().err
    assert main([*map(str, words), "--replace"]) == 0
    assert (FeatureStore.open(tmp_path / "store").column("a").rows(0) == ROWS + 1).all()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_code_does_not_run(
    tmp_path: Path, refused: Refused, protocol: int
) -> None:
    marker = tmp_path / "it-ran"
    source = tmp_path / "evil.pkl"
    content = {"train": {"id": ["a"], "audio": Calls(os.mkdir, str(marker))}}
    source.write_bytes(pickle.dumps(content, protocol=protocol))
    assert "posix.mkdir" in refused(source)
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", id="bytes"),
        pytest.param(b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".", id="bytearray"),
        pytest.param(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".", id="text"),
        pytest.param(b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b".", id="frame"),
        pytest.param(b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b".", id="number"),
        pytest.param(b"\x80\x02}r\xff\xff\xff\xff.", id="memo"),
    ],
)
def test_a_pickle_that_asks_for_a_huge_allocation_is_refused(
    tmp_path: Path, refused: Refused, data: bytes
) -> None:
    source = tmp_path / "huge.pkl"
    source.write_bytes(data)
    refused(source, status=2 if b"}" in data else 1)


def test_a_pickle_of_very_many_small_things_is_refused(tmp_path: Path, refused: Refused) -> None:
    source = tmp_path / "many.pkl"
    source.write_bytes(b"\x80\x04(" + b"\x8f" * 100_000 + b"l.")
    assert "--max-bytes" in refused(source, "--max-bytes", 1 << 20)


def test_a_zip_bomb_is_refused(tmp_path: Path, refused: Refused) -> None:
    source = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("data.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (1 << 19, 64)}
        )
        for _ in range(128):
            member.write(bytes(1 << 20))
    assert source.stat().st_size < 1 << 20
    assert "--max-bytes" in refused(source, "--max-bytes", 1 << 20)


def test_a_member_that_declares_less_than_it_unpacks_to_is_refused(
    tmp_path: Path, refused: Refused
) -> None:
    source = tmp_path / "liar.npz"
    np.savez_compressed(source, sample=np.zeros((10_000, 8), "f4"))
    data = bytearray(source.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 200)
    source.write_bytes(data)
    refused(source)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickled_objects_in_arrays_are_refused(
    folder: Path, tmp_path: Path, refused: Refused, name: str
) -> None:
    marker = tmp_path / "it-ran"
    evil = np.array([Calls(os.mkdir, str(marker))], dtype=object)
    if name.endswith(".npy"):
        np.save(folder / name, evil, allow_pickle=True)
    else:
        np.savez(folder / name, data=evil)
    assert "pickled objects" in refused(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "..\\out", "C:\\out"])
def test_names_that_lead_out_of_a_folder_are_refused(
    tmp_path: Path, refused: Refused, name: str
) -> None:
    source = tmp_path / "names.npz"
    np.savez(source, data=ROWS, offsets=[0, 2, 4], ids=np.array(["a", name]))
    assert "leads out of its folder" in refused(source)
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(tmp_path).read_bytes())
    assert "leads out of its folder" in refused(source)


def _npy(folder: Path) -> Path:
    np.save(folder / "one.npy", ROWS)
    return folder / "one.npy"


@pytest.mark.parametrize("kind", ["file", "folder", "dangling"])
def test_symbolic_links_are_refused(
    folder: Path, tmp_path: Path, refused: Refused, kind: str
) -> None:
    (tmp_path / "outside").mkdir()
    np.save(tmp_path / "outside/secret.npy", ROWS)
    target = {"file": "outside/secret.npy", "folder": "outside", "dangling": "nowhere.npy"}[kind]
    (folder / "link.npy").symlink_to(tmp_path / target)
    assert "symbolic link" in refused(folder)


def test_a_named_pipe_does_not_hang(folder: Path, refused: Refused) -> None:
    os.mkfifo(folder / "pipe.npy")
    assert "not a regular file" in refused(folder)


@pytest.mark.parametrize("kind", ["external", "soft", "virtual", "storage", "circle"])
def test_hdf5_that_leads_elsewhere_is_refused(tmp_path: Path, refused: Refused, kind: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = ROWS
    (tmp_path / "raw.bin").write_bytes(ROWS.tobytes())
    source = tmp_path / "links.h5"
    with h5py.File(source, "w") as file:
        file["good"] = ROWS
        if kind == "external":
            file["evil"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/secret")
        elif kind == "soft":
            file["evil"] = h5py.SoftLink("/good")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=(4, 2), dtype="f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "secret", shape=(4, 2))
            file.create_virtual_dataset("evil", layout)
        elif kind == "storage":
            external = [(str(tmp_path / "raw.bin"), 0, ROWS.nbytes)]
            file.create_dataset("evil", (4, 2), "f4", external=external)
        else:
            file.create_group("evil")["inside"] = file["/"]
    said = refused(source)
    what = {"external": "link to another file", "soft": "is a link", "circle": "in a circle"}
    assert what.get(kind, "from other files") in said


@pytest.mark.parametrize("suffix", ["h5", "csd"])
def test_hdf5_that_declares_terabytes_is_refused(
    tmp_path: Path, refused: Refused, suffix: str
) -> None:
    source = tmp_path / f"huge.{suffix}"
    with h5py.File(source, "w") as file:
        file.create_dataset("x/data/vid/features", (1 << 40, 4), "f4", chunks=(16, 4))
    assert "--max-bytes" in refused(source)


def test_a_mat_file_that_unpacks_to_much_is_refused(tmp_path: Path, refused: Refused) -> None:
    source = tmp_path / "bomb.mat"
    scipy.io.savemat(source, {"sample": np.zeros((1000, 1000))}, do_compression=True)
    assert "--max-bytes" in refused(source, "--max-bytes", 1 << 20)


def test_a_pt_that_calls_code_does_not_run(folder: Path, tmp_path: Path, refused: Refused) -> None:
    marker = tmp_path / "it-ran"
    torch.save({"data": Calls(os.mkdir, str(marker))}, folder / "evil.pt")
    assert "not a file of tensors alone" in refused(folder)
    assert not marker.exists()


def test_a_pt_that_repeats_one_number_terabytes_long_is_refused(
    folder: Path, refused: Refused
) -> None:
    torch.save(torch.zeros(1, 2).expand(1 << 40, 2), folder / "huge.pt")
    assert "--max-bytes" in refused(folder)


def test_an_npy_that_is_shorter_than_it_says_is_refused(folder: Path, refused: Refused) -> None:
    with (folder / "cut.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 2)}
        )
    assert "[1099511627776, 2]" in refused(folder)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param(f"id,x\ngood,{'y' * (1 << 21)}\n", "field larger than", id="field"),
        pytest.param(f"id,x\ngood,{'y' * (1 << 23)}", "line 2: has more than", id="line"),
        pytest.param(
            "id,x\ngood,1\ngood,2\n", "line 3: the id 'good' is that of line 2", id="twice"
        ),
        pytest.param("id,x\ngood,1,2\n", "another number of fields", id="fields"),
        pytest.param("name,x\ngood,1\n", "no column 'id'", id="no id"),
    ],
)
def test_a_hostile_table_of_labels_is_refused(
    folder: Path, tmp_path: Path, refused: Refused, text: str, what: str
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    assert what in refused(folder, "--labels", labels, status=2)


def test_an_empty_folder_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "empty").mkdir()
    assert "no features in this folder" in refused(tmp_path / "empty", status=2)
    assert "no such file or folder" in refused(tmp_path / "nowhere", status=2)


def test_other_dimensions_are_refused_and_both_files_named(folder: Path, refused: Refused) -> None:
    np.save(folder / "other.npy", np.zeros((4, 3), "f4"))
    said = refused(folder)
    assert "other.npy: has rows of 3 features where" in said
    assert "good.npy has 2" in said


def test_other_shapes_are_refused_with_file_and_shape(folder: Path, refused: Refused) -> None:
    np.save(folder / "other.npy", np.zeros((4, 3, 2), "f4"))
    assert "other.npy: has the shape [4, 3, 2]" in refused(folder)


def test_a_name_that_is_not_utf8_is_refused(folder: Path, refused: Refused) -> None:
    with open(os.fsencode(folder) + b"/caf\xe9.npy", "wb") as file:
        np.save(file, ROWS)
    assert "is not UTF-8" in refused(folder)
