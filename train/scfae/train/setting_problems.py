"""What pydantic finds wrong with a setting, in the words of a command line."""

import difflib
from collections.abc import Iterable, Mapping

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_PLAIN = {
    "too_short": "at least one is due",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "is none of those there are",
}
"""What pydantic would say in the words of its own patterns and containers."""


def describe(fields: Mapping[str, FieldInfo], errors: Iterable[ErrorDetails]) -> list[str]:
    """Return one sentence for each setting that is missing or not allowed.

    Args:
        fields: The settings of a group by name, each with its meaning.
        errors: As pydantic lists them.
    """
    problems: dict[str, str] = {}
    for error in errors:
        name = str(error["loc"][0])
        # A union names its branches in the location; the field and the key are what was typed.
        place = ".".join(map(str, error["loc"][:2])) if len(error["loc"]) > 1 else name
        meaning = " ".join((fields[name].description or "").split()).rstrip(".")
        if error["type"] == "missing":
            problems[place] = f"{name}: missing. It is: {meaning}"
        else:
            said = error["msg"].replace("Input should be", "should be")
            if len(error["loc"]) <= 2:  # deeper, the meaning is not that of the field itself
                said = _PLAIN.get(error["type"], said)
            problems.setdefault(place, f"{place} = {error['input']!r}: {said} ({meaning})")
    return list(problems.values())


def suggest(word: str, names: Iterable[str]) -> str:
    """Return ` Did you mean …?` for the nearest names, or nothing."""
    near = difflib.get_close_matches(word, list(names), n=2)
    return f" Did you mean {' or '.join(near)}?" if near else ""
