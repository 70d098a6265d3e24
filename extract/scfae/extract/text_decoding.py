"""From a text to the windows of recipes: UTF-8, of at most 16 MiB."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scfae.store.errors import DecodeError

from .fates import Fate
from .recipe import Recipe, StreamInfo
from .texts import InlineText, MediaSource

_MAX_BYTES: Final = 16 << 20


def decode_text(source: MediaSource, recipes: Mapping[str, Recipe]) -> dict[str, Fate]:
    """Return the windows of a text for every recipe, all of texts.

    Raises:
        DecodeError: If it is no UTF-8, or no text but data.
    """
    text = source.text if isinstance(source, InlineText) else _read(source)
    fates = {}
    for name, recipe in recipes.items():
        cutter = recipe.begin(StreamInfo("text"))
        windows = cutter.push(text) + cutter.end()
        fates[name] = Fate(windows=windows) if windows else Fate("missing", "the text is empty")
    return fates


def _read(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise DecodeError(f"a text of more than {_MAX_BYTES >> 20} MiB: {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8 ({error.reason} at byte {error.start}): {path}") from None
    except OSError as error:
        raise DecodeError(f"cannot be read ({error.strerror}): {path}") from None
    if "\0" in text:
        raise DecodeError(f"holds zero bytes, so it is no text: {path}")
    return text
