"""Sources of every kind that hold the same samples, for the tests beside this file."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import scipy.io
import torch

from scfae.store import FeatureStore
from scfae.store.importing import ImportReport, import_features

Samples = Mapping[str, npt.NDArray[Any]]


def samples(count: int = 5, dim: int = 3, dtype: str = "float32") -> dict[str, npt.NDArray[Any]]:
    """Return ragged samples of 1 to `count` rows."""
    random = np.random.default_rng(7)
    return {f"s{i}": random.normal(size=(i + 1, dim)).astype(dtype) for i in range(count)}


def times_of(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return times that tell the row."""
    return np.stack([np.arange(len(rows)), np.arange(len(rows)) + 1.0], axis=1)


def as_ragged(given: Samples) -> dict[str, Any]:
    """Return `data`, `offsets`, `ids` and `times`."""
    lengths = [len(rows) for rows in given.values()]
    return {
        "data": np.concatenate(list(given.values())),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "ids": np.array(list(given)),
        "times": np.concatenate([times_of(rows) for rows in given.values()]),
    }


def write_source(kind: str, folder: Path, given: Samples) -> Path:
    """Write samples as a source of one kind; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    ragged = as_ragged(given)
    times = {name: times_of(rows) for name, rows in given.items()}
    if kind in ("npy", "fortran", "npz files", "pt", "pt dict"):
        inside = folder / "features"
        inside.mkdir()
        for name, rows in given.items():
            if kind == "npy":
                np.save(inside / f"{name}.npy", rows)
            elif kind == "fortran":
                np.save(inside / f"{name}.npy", np.asfortranarray(rows))
            elif kind == "npz files":
                np.savez_compressed(inside / f"{name}.npz", data=rows, times=times[name])
            else:
                tensor = torch.from_numpy(rows)
                torch.save(tensor if kind == "pt" else {"x": tensor}, inside / f"{name}.pt")
        return inside
    path = folder / f"source{_SUFFIXES[kind]}"
    if kind == "npz":
        np.savez(path, **ragged)
    elif kind == "npz packed":
        np.savez_compressed(path, **ragged)
    elif kind == "npz fortran":
        np.savez(path, **(ragged | {"data": np.asfortranarray(ragged["data"])}))
    elif kind == "npz names":
        np.savez_compressed(path, **dict(given))  # type: ignore[arg-type]
    elif kind == "mat":
        cells = np.array(list(given), dtype=object)
        scipy.io.savemat(path, ragged | {"ids": cells}, do_compression=True)
    elif kind == "mat names":
        scipy.io.savemat(path, dict(given))
    elif kind == "mmsa":
        path.write_bytes(pickle.dumps(mmsa(given)))
    else:
        _write_hdf5(kind, path, given, ragged)
    return path


_SUFFIXES = {
    "npz": ".npz",
    "npz packed": ".npz",
    "npz fortran": ".npz",
    "npz names": ".npz",
    "mat": ".mat",
    "mat names": ".mat",
    "mat 7.3": ".mat",
    "mmsa": ".pkl",
    "hdf5": ".h5",
    "hdf5 names": ".hdf5",
    "csd": ".csd",
}
KINDS = ("npy", "fortran", "npz files", "pt", "pt dict", *_SUFFIXES)


def mmsa(given: Samples, **more: Any) -> dict[str, Any]:
    """Return samples as MMSA's pickles hold them: one split, padded, with lengths."""
    longest = max(len(rows) for rows in given.values())
    padded = [np.pad(rows, ((0, longest - len(rows)), (0, 0))) for rows in given.values()]
    split = {
        "id": list(given),
        "audio": np.stack(padded),
        "audio_lengths": [len(rows) for rows in given.values()],
    }
    return {"train": split | more}


def _write_hdf5(kind: str, path: Path, given: Samples, ragged: dict[str, Any]) -> None:
    with h5py.File(path, "w", userblock_size=512 if kind == "mat 7.3" else 0) as file:
        if kind == "hdf5":
            for name, values in ragged.items():
                strings = name == "ids"
                file[name] = values.astype(h5py.string_dtype()) if strings else values
        elif kind == "hdf5 names":
            for name, rows in given.items():
                file.create_dataset(name, data=rows, chunks=(1, rows.shape[1]), compression="gzip")
        elif kind == "csd":
            for name, rows in given.items():
                file[f"COVAREP/data/{name}/features"] = rows
                file[f"COVAREP/data/{name}/intervals"] = times_of(rows)
            file["COVAREP/metadata/root name"] = np.array([b"COVAREP"])
        else:  # MATLAB's axes are the other way round, and a cell is a reference to UTF-16 units
            for name in ("data", "times"):
                file[name] = ragged[name].T
                file[name].attrs["MATLAB_class"] = np.bytes_("double")
            file["offsets"] = ragged["offsets"][:, None].astype(float)
            file["offsets"].attrs["MATLAB_class"] = np.bytes_("double")
            cells = []
            for number, name in enumerate(given):
                units = np.frombuffer(name.encode("utf-16-le"), "<u2")[:, None]
                cells.append(file.create_dataset(f"#refs#/{number}", data=units).ref)
            file.create_dataset("ids", data=np.array([cells], dtype=h5py.ref_dtype))
            file["ids"].attrs["MATLAB_class"] = np.bytes_("cell")


def imported(source: Path, store: Path, **flags: Any) -> tuple[FeatureStore, ImportReport]:
    """Import an audio column `a`; return the store and the report."""
    report = import_features(source, store, **{"column": "a", "modality": "audio"} | flags)
    return FeatureStore.open(store), report


def rows_by_id(store: FeatureStore, column: str = "a") -> dict[str, npt.NDArray[Any]]:
    """Return the rows of every sample."""
    return {str(name): store.column(column).rows(i) for i, name in enumerate(store.samples.ids)}


def fates_by_id(store: FeatureStore, column: str = "a") -> dict[str, tuple[str, str | None]]:
    """Return the status and reason of every sample."""
    one = store.column(column)
    return {
        str(name): (str(one.status[i]), one.reasons.get(i))
        for i, name in enumerate(store.samples.ids)
    }
