"""The peers: each writes the same samples in its own way and reads them front to back.

Every peer gives samples that are padded into fresh memory here, as a collate function does. None is
asked to shuffle, and none runs in worker processes: that would only slow it down.
"""

import contextlib
import importlib.util
import io
import itertools
import json
import tarfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .data import BATCH_SIZE, SHAPES, SHARD_SIZE, Data, Loaded, pad
from .ours import Epoch

_SHARD_BYTES: Final = "32MB"
_Sample = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One other library.

    Attributes:
        name: Its name in the table.
        module: What must be importable.
        hint: How to install it.
        write: Writes the data into a folder.
        read: Opens that folder and returns the function that makes the batches of one epoch.
    """

    name: str
    module: str
    hint: str
    write: Callable[[Data, Path], None]
    read: Callable[[Data, Path], Epoch]

    @property
    def is_installed(self) -> bool:
        """Whether it can be imported here."""
        return importlib.util.find_spec(self.module) is not None


def _batched(samples: Iterator[tuple[int, _Sample]]) -> Iterator[Loaded]:
    while some := list(itertools.islice(samples, BATCH_SIZE)):
        features, lengths = pad([sample for _, sample in some])
        yield Loaded(np.array([number for number, _ in some]), features, lengths)


def _write_tars(data: Data, folder: Path) -> None:
    for first, samples in _chunks(data):
        with tarfile.open(folder / f"{first:09d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, sample in enumerate(samples, first):
                members = {f"{m}.npy": _npy(sample[m]) for m in SHAPES}
                members["json"] = json.dumps({"number": number}).encode()
                for suffix, contents in members.items():
                    entry = tarfile.TarInfo(f"{number:09d}.{suffix}")
                    entry.size = len(contents)
                    tar.addfile(entry, io.BytesIO(contents))


def _read_tars(data: Data, folder: Path) -> Epoch:
    import webdataset

    urls = sorted(map(str, folder.glob("*.tar")))
    # One reader in one process: nothing is split among workers, and an epoch is all of it.
    samples = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode()
    return lambda: _batched(
        (sample["json"]["number"], {m: sample[f"{m}.npy"] for m in SHAPES}) for sample in samples
    )


def _write_litdata(data: Data, folder: Path) -> None:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=_SHARD_BYTES)
    for number, sample in enumerate(data.samples()):
        writer[number] = {"number": number, **{m: np.array(sample[m]) for m in SHAPES}}
    writer.done()
    writer.merge()


def _read_litdata(data: Data, folder: Path) -> Epoch:
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(folder), shuffle=False)
    return lambda: _batched((sample["number"], sample) for sample in dataset)


def _write_mosaic(data: Data, folder: Path) -> None:
    from streaming import MDSWriter

    columns = {"number": "int", **dict.fromkeys(SHAPES, "ndarray:float16")}
    with MDSWriter(out=str(folder), columns=columns, size_limit=_SHARD_BYTES.lower()) as writer:
        for number, sample in enumerate(data.samples()):
            writer.write({"number": number, **{m: np.array(sample[m]) for m in SHAPES}})


def _read_mosaic(data: Data, folder: Path) -> Epoch:
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=str(folder), shuffle=False, batch_size=1)
    return lambda: _batched(
        (sample["number"], sample) for sample in (dataset[i] for i in range(len(data)))
    )


def _write_nothing(data: Data, folder: Path) -> None:
    """Zarr reads the store's own files."""


def _read_zarr(data: Data, folder: Path) -> Epoch:
    import zarr

    groups = {
        (modality, shard): zarr.open_group(
            zarr.storage.ZipStore(
                data.store.path / f"columns/{modality}/shard-{shard:05d}.zarr.zip", mode="r"
            ),
            mode="r",
        )
        for modality in SHAPES
        for shard in range(data.store.samples.num_shards)
    }

    def samples() -> Iterator[tuple[int, _Sample]]:
        number = 0
        for shard in range(data.store.samples.num_shards):
            rows: dict[str, list[npt.NDArray[Any]]] = {}
            for modality in SHAPES:
                group = groups[modality, shard]
                # All of it at once: slice by slice, each would read the whole chunk again.
                values, ends = np.asarray(group["data"]), np.asarray(group["offsets"])
                rows[modality] = [values[a:z] for a, z in itertools.pairwise(ends.tolist())]
            for place in range(len(data.store.samples.rows_of(shard))):
                yield number, {modality: rows[modality][place] for modality in SHAPES}
                number += 1

    return lambda: _batched(samples())


_EXTRA = "pip install 'scfae[bench]'"

PEERS: Final = (
    Peer("webdataset iterator", "webdataset", _EXTRA, _write_tars, _read_tars),
    Peer("LitData StreamingDataset", "litdata", _EXTRA, _write_litdata, _read_litdata),
    Peer(
        "Mosaic StreamingDataset",
        "streaming",
        "it asks for numpy < 2.2: see `make bench-peers`",
        _write_mosaic,
        _read_mosaic,
    ),
    Peer("zarr-python, the same files", "zarr", "pip install zarr", _write_nothing, _read_zarr),
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what peers warn about and print to themselves."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _chunks(data: Data) -> Iterator[tuple[int, list[_Sample]]]:
    samples = data.samples()
    first = 0
    while some := list(itertools.islice(samples, SHARD_SIZE)):
        yield first, some
        first += len(some)


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array))
    return file.getvalue()
