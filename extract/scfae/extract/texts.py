"""Texts as media: the text itself, as a manifest has it, or a file that holds it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TEXT_SUFFIX: Final = ".txt"
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class InlineText:
    """A text that is no file.

    Attributes:
        text: The text.
    """

    text: str

    @property
    def sha256(self) -> str:
        """Digest of its UTF-8."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    def __str__(self) -> str:
        more = "…" if len(self.text) > _SHOWN_CHARS else ""
        return f"text {self.text[:_SHOWN_CHARS]!r}{more}"


MediaSource = Path | InlineText
"""What feeds an encoder: a file, or a text of a manifest."""


def text_source(folder: Path, value: str) -> MediaSource:
    """Return what a manifest's text is: a path if such a file is there or it looks like NAME.txt.

    Args:
        folder: What paths are relative to.
        value: As the manifest has it.
    """
    if "\n" in value:
        return InlineText(value)
    is_named = value.lower().endswith(TEXT_SUFFIX) and not any(c.isspace() for c in value)
    try:
        is_path = is_named or (folder / value).is_file()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        is_path = False
    return folder / value if is_path else InlineText(value)
