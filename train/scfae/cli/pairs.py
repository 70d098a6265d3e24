"""`KEY=VALUE …` after one flag, e.g. `--columns video=dinov3-vits16 audio=ge2e`."""

from typing import Annotated

import tyro
from tyro.constructors import PrimitiveConstructorSpec


def _read(words: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ValueError(f"'{word}' is not KEY=VALUE")
        pairs.append((key, value))
    return tuple(pairs)


Pairs = Annotated[
    tuple[tuple[str, str], ...],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE …",
        instance_from_str=_read,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda pairs: [f"{key}={value}" for key, value in pairs],
    ),
    tyro.conf.arg(),
]
"""Type of a flag that takes any number of KEY=VALUE words, kept in order."""
