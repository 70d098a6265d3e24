"""Folders, `.pt` files and `.csd` files: what each refuses and what it passes over."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from scfae.store.errors import ConfigError, ImportRefused, ManifestError, ScfaeError
from scfae.store.importing import open_source

from .kit import fates_by_id, imported, rows_by_id

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_the_id_is_the_path_without_its_suffix(tmp_path: Path) -> None:
    source = tmp_path / "features"
    for name in ("a.npy", "deep/er/a.npy", "b.c.npy"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(source / name, ROWS)
    (source / "notes.txt").write_text("hello")
    (source / ".cache").mkdir()
    np.save(source / ".cache/x.npy", ROWS)
    store, report = imported(source, tmp_path / "store")
    assert set(rows_by_id(store)) == {"a", "deep/er/a", "b.c"}
    assert any("1 other files were left, e.g. 'notes.txt'" in one for one in report.notices)


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", data=ROWS)
    with pytest.raises(ImportRefused, match=r"the id 'a' is that of a\.npy too"):
        open_source(tmp_path, modality="audio")


def test_the_array_of_an_npz_is_data_the_key_or_the_only_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=ROWS, times=np.zeros((2, 2)))
    with open_source(tmp_path, modality="audio") as source:
        assert (source.sample("a").rows == ROWS).all()
        assert source.sample("a").times is not None
    np.savez(tmp_path / "a.npz", x=ROWS, y=ROWS)
    with pytest.raises(ConfigError, match=r"which array of .*a\.npz holds the rows; it has 'x'"):
        open_source(tmp_path, modality="audio")
    with pytest.raises(ConfigError, match=r"a\.npz has no 'z'; it has 'x', 'y'"):
        open_source(tmp_path, modality="audio", key="z")
    np.savez(tmp_path / "a.npz", data=ROWS, times=np.zeros((3, 2)))
    with pytest.raises(ImportRefused, match=r"a\.npz: times have the shape \[3, 2\]"):
        open_source(tmp_path, modality="audio")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([torch.ones(2)], "holds a list, not a tensor"),
        ({"data": torch.ones(2, 2, 2)}, r"has the shape \[2, 2, 2\]"),
        ({"data": torch.ones(2, 2).to_sparse()}, "is not a dense tensor"),
        ({"data": torch.ones(2, 2, dtype=torch.complex64)}, "not real numbers"),
        ({}, "it has nothing"),
        (torch.tensor(1.0), r"has the shape \[\]"),
    ],
)
def test_other_things_in_a_pt_are_refused(tmp_path: Path, content: Any, what: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ScfaeError, match=what):
        open_source(tmp_path, modality="audio")


def test_an_old_pt_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save(torch.ones(2), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ImportRefused, match="save it again"):
        open_source(tmp_path, modality="audio")


def test_brain_floats_are_read_and_transposed_tensors_too(tmp_path: Path) -> None:
    tensor = torch.tensor(ROWS)
    torch.save({"x": tensor.bfloat16().T.requires_grad_(), "n": 3}, tmp_path / "a.pt")
    with open_source(tmp_path, modality="audio") as source:
        assert (source.sample("a").rows == ROWS.T).all()


def csd(path: Path, **entries: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in entries.items():
            file[f"COVAREP/data/{name}"] = values
    return path


def test_segments_of_one_video_are_one_group(tmp_path: Path) -> None:
    entries = {"v1[0]/features": ROWS, "v1[1]/features": ROWS, "v2/features": ROWS}
    store, _ = imported(csd(tmp_path / "x.csd", **entries), tmp_path / "store")
    groups = {row.id: row.group for row in store.samples.rows()}
    assert groups == {"v1[0]": "v1", "v1[1]": "v1", "v2": None}


def test_intervals_that_do_not_fit_fail_their_video_and_no_other(tmp_path: Path) -> None:
    entries = {
        "v1/features": ROWS,
        "v1/intervals": np.zeros((5, 2)),
        "v2/features": ROWS,
        "v2/intervals": np.zeros((2, 2)),
    }
    store, _ = imported(csd(tmp_path / "x.csd", **entries), tmp_path / "store")
    why = "its intervals are [5, 2] for features [2, 3]"
    assert fates_by_id(store) == {"v1": ("failed", why), "v2": ("ok", None)}


def test_one_number_a_row_is_one_feature(tmp_path: Path) -> None:
    entries = {"v/features": np.arange(4.0), "v/intervals": np.zeros((4, 2))}
    store, _ = imported(csd(tmp_path / "x.csd", **entries), tmp_path / "store")
    assert rows_by_id(store)["v"].tolist() == [[0], [1], [2], [3]]


def test_a_csd_of_words_or_without_a_sequence_is_refused(tmp_path: Path) -> None:
    words = np.array([[b"sp"], [b"hello"]])
    with pytest.raises(ImportRefused, match=r"x\.csd, 'v': holds .*not real numbers"):
        open_source(csd(tmp_path / "x.csd", **{"v/features": words}), modality="text")
    with h5py.File(tmp_path / "y.csd", "w") as file:
        file["data"] = ROWS
    with pytest.raises(ManifestError, match="holds 0 sequences"):
        open_source(tmp_path / "y.csd", modality="text")


def test_a_file_of_another_kind_is_refused_with_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.docx").write_text("hello")
    with pytest.raises(ManifestError, match=r"give a folder of \.npy"):
        open_source(tmp_path / "x.docx", modality="text")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csd", ".mat", ".pkl"])
def test_a_name_that_lies_about_its_content_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("this is a text\n" * 100)
    with pytest.raises(ImportRefused, match=str(path)):
        open_source(path, modality="text")
