"""Files of a job that may be read from outside, and nothing beside them."""

from pathlib import Path

from scfae.store.config import Frozen
from scfae.store.errors import JobNotFound

from .folder import JobFolder

_TOP = ("run", "artifacts")
_FILES = ("job.json", "request.yaml", "history.jsonl", "log.txt")


class Artifact(Frozen):
    """A file of a job.

    Attributes:
        path: Below the job's folder, with `/`.
        size_bytes: How large it is.
        modified_s: When it was last written, in seconds since 1970.
    """

    path: str
    size_bytes: int
    modified_s: float


def artifacts(folder: JobFolder) -> list[Artifact]:
    """Return the files of a job, by path."""
    paths = [folder.path / name for name in _FILES]
    for top in _TOP:
        paths += sorted((folder.path / top).rglob("*"))
    found = []
    for path in paths:
        name = path.relative_to(folder.path).as_posix()
        try:
            status = place_of(folder, name).stat()
        except (JobNotFound, FileNotFoundError):
            continue
        one = Artifact(path=name, size_bytes=status.st_size, modified_s=status.st_mtime)
        found.append(one)
    return found


def place_of(folder: JobFolder, name: str) -> Path:
    """Return the place of a job's file.

    Raises:
        JobNotFound: There is none that may be read: it lies elsewhere, is hidden, or is no file.
    """
    base = folder.path.resolve()
    parts = Path(name).parts
    path = base.joinpath(*parts).resolve() if "\0" not in name else base
    is_ours = name in _FILES or (len(parts) > 1 and parts[0] in _TOP)
    is_hidden = any(part.startswith(".") for part in parts)
    if not is_ours or is_hidden or not path.is_relative_to(base) or not path.is_file():
        raise JobNotFound(f"job {folder.id} has no file {name!r}.")
    return path
