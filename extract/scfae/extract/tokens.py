"""The recipe of text encoders: a text to token ids, in pieces that the network can read.

Apart from the network, since it runs in the decoding children. A text is cut into pieces of at most
`length` tokens, special tokens included; every piece is wrapped in special tokens of its own. A
piece has its exact length: nothing is padded.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .recipe import MediaKind, StreamInfo, Window


@lru_cache(maxsize=8)
def tokenizer_of(folder: str) -> Any:
    """Return the tokenizer of a model's folder; nothing in the folder is run.

    Raises:
        OSError, ValueError: If there is none.
    """
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@lru_cache(maxsize=8)
def specials_of(folder: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that a model's tokenizer puts before and after a text."""
    tokenizer = tokenizer_of(folder)
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for at in range(len(whole) - len(bare) + 1):
        if bare and whole[at : at + len(bare)] == bare:
            return tuple(whole[:at]), tuple(whole[at + len(bare) :])
    raise ValueError("its special tokens do not stand before and after the text")


class TokenPieces:
    """Pieces of a text, int64 `[tokens]`; one row each, at time 0.

    Args:
        recipe: What to make of the text.
    """

    def __init__(self, recipe: "TextRecipe") -> None:
        self._recipe = recipe

    def push(self, text: str) -> list[Window]:
        """Return the pieces of a text; none if it holds no token."""
        tokenizer = tokenizer_of(self._recipe.folder)
        before, after = specials_of(self._recipe.folder)
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        length = self._recipe.length - len(before) - len(after)
        pieces = [ids[at : at + length] for at in range(0, len(ids), length)]
        return [
            Window(np.array([*before, *piece, *after], dtype=np.int64), np.zeros((1, 2)))
            for piece in pieces
        ]

    def end(self) -> list[Window]:
        """Return nothing: a text comes whole."""
        return []


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """A text to pieces.

    Attributes:
        folder: Of the model.
        length: Tokens of a piece, special tokens included.
    """

    folder: str
    length: int
    kind: MediaKind = "text"
    sample_rate_hz: None = None

    def begin(self, info: StreamInfo, /) -> TokenPieces:
        """Return a cutter for one text."""
        return TokenPieces(self)
