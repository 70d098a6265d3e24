"""The files of an export, each written once: what is whole and still true is kept on another run.

A journal in the export's folder has a line for every finished file, with the digest of what it was
made from. It is there only until `scfae-export.json` is written.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ..atomic import clean_temporaries, remove, sha256_file, size_of, write_atomic
from ..config import Frozen, canonical_json
from ..errors import StoreError
from .manifest import ExportedFile

JOURNAL_FILE: Final = "scfae-export.partial.jsonl"


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of an export, or one folder of `zarr-dir`.

    Attributes:
        file: Its path in the export.
        source: Digest of what decides its bytes.
        write: Writes it to a path, atomically.
    """

    file: str
    source: str
    write: Callable[[Path], None]


class _Done(Frozen):
    file: str
    source: str
    bytes: int
    sha256: str


class Journal:
    """The finished files of an export that is not finished.

    Args:
        root: The export's folder.
        plan: Digest of what was asked for.

    Raises:
        StoreError: If the folder holds an unfinished export of something else.
    """

    def __init__(self, root: Path, plan: str) -> None:
        self._root = root
        self._path = root / JOURNAL_FILE
        self._done: dict[str, _Done] = {}
        if self._path.exists():
            self._read(plan)
        else:
            write_atomic(self._path, _first_line(plan))

    def make(self, piece: Piece) -> tuple[ExportedFile, bool]:
        """Write a file unless it is there, whole and of the same source.

        Returns:
            What it is, and whether it was written now.
        """
        path = self._root / piece.file
        done = self._done.get(piece.file)
        if done is not None and done.source == piece.source and _is_whole(path, done):
            return ExportedFile(bytes=done.bytes, sha256=done.sha256), False
        if path.parent != self._root:
            path.parent.mkdir(parents=True, exist_ok=True)
            clean_temporaries(path.parent)
        piece.write(path)
        made = ExportedFile(bytes=size_of(path), sha256=sha256_file(path))
        self._append({"file": piece.file, "source": piece.source, **made.model_dump()})
        return made, True

    def drop(self) -> None:
        """Remove the journal: the export is finished."""
        remove(self._path)

    def _append(self, line: dict[str, object]) -> None:
        with self._path.open("ab") as file:
            file.write(canonical_json(line) + b"\n")

    def _read(self, plan: str) -> None:
        first, *lines = self._path.read_bytes().split(b"\n")
        if first + b"\n" != _first_line(plan):
            raise StoreError(
                f"{self._root} holds a part of another export, or of another state of the store; "
                "remove it, or give another folder."
            )
        for line in lines:
            try:
                done = _Done(**json.loads(line))
            except (ValueError, TypeError, ValidationError):
                continue  # the last line may be torn by a kill: its file is written again
            self._done[done.file] = done


def _first_line(plan: str) -> bytes:
    return canonical_json({"plan": plan}) + b"\n"


def _is_whole(path: Path, done: _Done) -> bool:
    try:
        if size_of(path) != done.bytes:
            return False
    except FileNotFoundError:
        return False
    return sha256_file(path) == done.sha256
