"""A column's index: what all its receipts say, as arrays, and a cache of that in one file.

Thousands of receipts take seconds to parse, so a reader that had to parse many of them leaves
`index.cache` beside them. It is never the truth. One listing of the folder gives every receipt's
inode, size and times; what the cache knows of a receipt is used only where all of these are as they
were when it was read, and the receipt was not so young then that a second writing could have hidden
in the same tick of the clock. All other receipts are read. A cache that is damaged, or is another
column's, is as good as none, and one that cannot be written is not missed.

Shapes: N samples, S shards, K samples with a reason.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .atomic import atomic_file
from .column import ColumnInfo
from .errors import CorruptShard
from .lazy import lazy_property
from .receipt import STATUSES, Receipt, read_receipt, receipt_file
from .samples import SampleTable

INDEX_FILE: Final = "index.cache"
MIN_CACHED: Final = 64  # fewer receipts are read faster than a file is worth

_MAGIC = b"scfae column index 1\n"
_DIGEST_BYTES = 32
_RECEIPT = re.compile(r"shard-(\d{5,})\.json")
_CODES: Final[Mapping[str, int]] = {name: code for code, name in enumerate(STATUSES)}
_MISSING: Final = _CODES["missing"]
_ABSENT, _COMMITTED, _FOREIGN = 0, 1, 2
_YOUNG_NS = 2_000_000_000  # the coarsest clock of a file system in use (FAT)
_PER_SAMPLE = ("lengths", "codes")
_PER_SHARD = ("state", "num_bytes", "signature")


@dataclass(eq=False)
class ColumnIndex:
    """What the receipts of a column say.

    Attributes:
        lengths: Rows of each sample, T, int32 `[N]`; 0 where missing, failed or not extracted.
        codes: Fate of each sample, as its place in `STATUSES`, uint8 `[N]`.
        state: Of each shard `[S]`: 0 not extracted, 1 committed, 2 left by another fingerprint.
        num_bytes: Bytes of each shard's file, int64 `[S]`.
        signature: Inode, size, mtime and ctime of each receipt, int64 `[S, 4]`; -1 is not trusted.
        files: Name of each shard's file; empty where not committed.
        sha256: Digest of each shard's file; empty where not committed.
        ids_sha256: Digest of each shard's ids; empty where not committed.
        reason: Which of `texts` says why a sample is not ok, int32 `[N]`; -1 is none of them.
        texts: The different reasons.
    """

    lengths: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    state: npt.NDArray[np.uint8]
    num_bytes: npt.NDArray[np.int64]
    signature: npt.NDArray[np.int64]
    files: list[str]
    sha256: list[str]
    ids_sha256: list[str]
    reason: npt.NDArray[np.int32]
    texts: list[str]

    @lazy_property
    def _code_of(self) -> dict[str, int]:
        return {text: code for code, text in enumerate(self.texts)}

    @lazy_property
    def is_committed(self) -> npt.NDArray[np.bool_]:
        """Which shards are there, bool `[S]`."""
        return np.asarray(self.state == _COMMITTED, dtype=bool)

    @classmethod
    def empty(cls, num_samples: int, num_shards: int) -> "ColumnIndex":
        """Return the index of a column without receipts."""
        return cls(
            lengths=np.zeros(num_samples, dtype=np.int32),
            codes=np.full(num_samples, _MISSING, dtype=np.uint8),
            state=np.zeros(num_shards, dtype=np.uint8),
            num_bytes=np.zeros(num_shards, dtype=np.int64),
            signature=np.full((num_shards, 4), -1, dtype=np.int64),
            files=[""] * num_shards,
            sha256=[""] * num_shards,
            ids_sha256=[""] * num_shards,
            reason=np.full(num_samples, -1, dtype=np.int32),
            texts=[],
        )

    def take(self, receipt: Receipt, here: range) -> None:
        """Take what a receipt says of the samples `here`."""
        shard = receipt.shard
        self.lengths[here.start : here.stop] = receipt.lengths
        self.codes[here.start : here.stop] = [_CODES[status] for status in receipt.status]
        self.state[shard] = _COMMITTED
        self.num_bytes[shard] = receipt.bytes
        self.files[shard] = receipt.file
        self.sha256[shard] = receipt.sha256
        self.ids_sha256[shard] = receipt.ids_sha256
        for place, why in receipt.reasons.items():
            code = self._code_of.get(why)
            if code is None:
                code = self._code_of[why] = len(self.texts)
                self.texts.append(why)
            self.reason[here[int(place)]] = code

    def leave_out(self, shard: int, here: range) -> None:
        """Forget what is known of a shard, as if it were not there."""
        self.lengths[here.start : here.stop] = 0
        self.codes[here.start : here.stop] = _MISSING
        self.reason[here.start : here.stop] = -1
        self.state[shard], self.num_bytes[shard] = _ABSENT, 0
        self.files[shard] = self.sha256[shard] = self.ids_sha256[shard] = ""

    def why(self) -> dict[int, str]:
        """Return why samples are partial, missing or failed, by place in the sample table."""
        places = np.flatnonzero(self.reason >= 0)
        codes = self.reason[places].tolist()
        return {i: self.texts[code] for i, code in zip(places.tolist(), codes, strict=True)}


def check_receipt(
    receipt: Receipt | None, info: ColumnInfo, *, samples: SampleTable, folder: Path
) -> Receipt | None:
    """Return the receipt if it is that of the column as it is now; None if of another fingerprint.

    Raises:
        CorruptShard: If it is the receipt of other samples.
    """
    if receipt is None or receipt.fingerprint != info.fingerprint:
        return None
    here = samples.rows_of(receipt.shard)
    if receipt.ids_sha256 != samples.ids_sha256(receipt.shard) or len(receipt.lengths) != len(here):
        raise CorruptShard(
            f"column '{info.name}', shard {receipt.shard}: "
            f"{folder / receipt_file(receipt.shard)} "
            "is the receipt of other samples. Remove it and extract again."
        )
    return receipt


def read_index(folder: Path, info: ColumnInfo, samples: SampleTable) -> ColumnIndex:
    """Return what the receipts in a column's folder say now.

    Raises:
        CorruptShard: If a receipt is damaged, or is that of other samples.
    """
    began_ns = time.time_ns()
    began_s = time.monotonic()
    signature = _signatures(folder, samples.num_shards)
    there = signature[:, 0] >= 0
    index, is_known = _start(folder, info, samples=samples, signature=signature)
    unread = np.flatnonzero(there & ~is_known)
    for shard in unread.tolist():
        receipt = read_receipt(folder, shard)
        mine = check_receipt(receipt, info, samples=samples, folder=folder)
        if mine is not None:
            index.take(mine, samples.rows_of(shard))
        elif receipt is not None:
            index.state[shard] = _FOREIGN
    index.signature = signature
    if len(unread) >= MIN_CACHED:
        age = began_ns - signature[unread, 2:].max(axis=1)
        if int((age > _YOUNG_NS).sum()) >= MIN_CACHED:
            _write_cache(folder, info, index=index, samples=samples, began=(began_ns, began_s))
    return index


def index_damage(folder: Path, info: ColumnInfo, samples: SampleTable) -> str | None:
    """Return what a cache says that the receipts do not; None if it is right, useless or absent."""
    signature = _signatures(folder, samples.num_shards)
    index, is_known = _start(folder, info, samples=samples, signature=signature)
    for shard in np.flatnonzero(is_known).tolist():
        try:
            receipt = read_receipt(folder, shard)
            mine = check_receipt(receipt, info, samples=samples, folder=folder)
        except CorruptShard:
            continue  # found by itself
        here = samples.rows_of(shard)
        if (mine is not None) != (index.state[shard] == _COMMITTED):
            return f"it disagrees with {receipt_file(shard)}; delete it"
        if mine is None:
            continue
        said = (
            index.lengths[here.start : here.stop].tolist(),
            [STATUSES[code] for code in index.codes[here.start : here.stop]],
            {
                str(i - here.start): index.texts[index.reason[i]]
                for i in here
                if index.reason[i] >= 0
            },
            (index.files[shard], index.sha256[shard], int(index.num_bytes[shard])),
        )
        file = (mine.file, mine.sha256, mine.bytes)
        if said != (mine.lengths, list(mine.status), mine.reasons, file):
            return f"it disagrees with {receipt_file(shard)}; delete it"
    return None


def _signatures(folder: Path, num_shards: int) -> npt.NDArray[np.int64]:
    """Return inode, size, mtime and ctime of every receipt `[S, 4]`; -1 where there is none."""
    found = np.full((num_shards, 4), -1, dtype=np.int64)
    shards: list[int] = []
    facts: list[tuple[int, int, int, int]] = []
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return found
    with entries:
        for entry in entries:
            name = entry.name
            if not name.endswith(".json") or not (match := _RECEIPT.fullmatch(name)):
                continue
            shard = int(match[1])
            if shard >= num_shards or name != receipt_file(shard):
                continue
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue  # withdrawn since
            shards.append(shard)
            facts.append((stat.st_ino % 2**63, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    if shards:
        found[shards] = facts
    return found


def _start(
    folder: Path, info: ColumnInfo, *, samples: SampleTable, signature: npt.NDArray[np.int64]
) -> tuple[ColumnIndex, npt.NDArray[np.bool_]]:
    """Return an index with what the cache knows, and of which shards it knows, bool `[S]`."""
    num_samples, num_shards = len(samples), samples.num_shards
    index = ColumnIndex.empty(num_samples, num_shards)
    is_known = np.zeros(num_shards, dtype=bool)
    cache = _read_cache(folder)
    if cache is None:
        return index, is_known
    head, arrays = cache
    bounds = arrays["bounds"]
    shared = min(num_shards, len(bounds) - 1)
    if (head["column"], head["fingerprint"]) != (info.name, info.fingerprint) or not np.array_equal(
        bounds[: shared + 1], samples.bounds[: shared + 1]
    ):
        return index, is_known
    same = (arrays["signature"][:shared] == signature[:shared]).all(axis=1)
    is_known[:shared] = same & (signature[:shared, 0] >= 0)
    if head["ids"] != samples.ids_digest:
        for shard in np.flatnonzero(is_known).tolist():
            is_foreign = arrays["state"][shard] == _FOREIGN
            is_mine = head["ids_sha256"][shard] == samples.ids_sha256(shard)
            is_known[shard] = is_foreign or is_mine
    end = int(bounds[shared])
    index.state[:shared] = np.where(is_known[:shared], arrays["state"][:shared], _ABSENT)
    committed = index.state[:shared] == _COMMITTED
    counts = np.diff(bounds[: shared + 1])
    kept = np.repeat(committed, counts)
    index.lengths[:end] = np.where(kept, arrays["lengths"][:end], 0)
    index.codes[:end] = np.where(kept, arrays["codes"][:end], _MISSING)
    index.num_bytes[:shared] = np.where(committed, arrays["num_bytes"][:shared], 0)
    for key, values in (
        ("files", index.files),
        ("sha256", index.sha256),
        ("ids_sha256", index.ids_sha256),
    ):
        old = head[key]
        values[:shared] = [old[k] if committed[k] else "" for k in range(shared)]
    places = arrays["reason_at"]
    usable = places < end
    usable[usable] = kept[places[usable]]
    index.reason[places[usable]] = arrays["reason_code"][usable]
    index.texts = head["reasons"]
    return index, is_known


def _read_cache(folder: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
    """Return what the cache holds; None if there is none, or it is not as it was written."""
    try:
        data = (folder / INDEX_FILE).read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST_BYTES
    body = memoryview(data)[start:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != hashlib.sha256(body).digest():
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    return json.loads(arrays.pop("head").tobytes()), arrays


def _write_cache(
    folder: Path,
    info: ColumnInfo,
    *,
    index: ColumnIndex,
    samples: SampleTable,
    began: tuple[int, float],
) -> None:
    places = np.flatnonzero(index.reason >= 0)
    head = {
        "column": info.name,
        "fingerprint": info.fingerprint,
        "ids": samples.ids_digest,
        "files": index.files,
        "sha256": index.sha256,
        "ids_sha256": index.ids_sha256,
        "reasons": index.texts,
    }
    # Suppressed: a folder that cannot be written, a full disk, or a writer that tidies up
    # temporaries at this moment only means that the next reader parses the receipts again.
    with contextlib.suppress(OSError), atomic_file(folder / INDEX_FILE) as file:
        # The age of a receipt is told by the clock that dated it, that of the file system.
        elapsed_ns = int((time.monotonic() - began[1]) * 1e9)
        now_ns = min(began[0], os.fstat(file.fileno()).st_mtime_ns - elapsed_ns)
        is_old = index.signature[:, 2:].max(axis=1) < now_ns - _YOUNG_NS
        body = io.BytesIO()
        np.savez(
            body,
            head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
            bounds=samples.bounds,
            lengths=index.lengths,
            codes=index.codes,
            state=index.state,
            num_bytes=index.num_bytes,
            signature=np.where(is_old[:, None], index.signature, -1),
            reason_at=places,
            reason_code=index.reason[places],
        )
        view = body.getbuffer()
        file.write(_MAGIC + hashlib.sha256(view).digest())
        file.write(view)
