"""Entity tags of jobs: which state of a job somebody has seen, so that nobody undoes an edit."""

from .record import JobRecord


def etag(record: JobRecord) -> str:
    """Return the tag of a job; it changes with every line of its history."""
    return f'"{record.seq}"'


def seen(if_match: str | None) -> frozenset[str] | None:
    """Return the tags in an `If-Match` header; None if any state will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    # A weak tag matches nothing here.
    return frozenset(tag.strip() for tag in if_match.split(","))
