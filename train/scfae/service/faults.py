"""What pydantic finds wrong with a request, in words for who sent it."""

import reprlib
from collections.abc import Iterable
from typing import Any, Final

from pydantic_core import ErrorDetails

_SOURCES: Final = frozenset({"body", "query", "path", "header"})
"""Where FastAPI found a value; a field's name says enough."""
_MAPPING: Final = "should be a mapping"
_SAID: Final = {
    "dict_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "model_type": _MAPPING,
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "string_type": "should be text",
}
_NO_DEVICE: Final = "is no device of a job, such as cpu, cuda or cuda:1"
_PATTERNS: Final = {
    r"^(cpu|cuda(:\d+)?|mps)$": _NO_DEVICE,
    r"^(auto|cpu|cuda(:\d+)?)$": _NO_DEVICE,
    r"^[0-9a-f]{12}$": "is no id of a job, which is 12 digits of 0-9 and a-f",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": (
        "is no name: letters, digits and . _ - only, 64 at most, a letter or digit first"
    ),
}
_short = reprlib.Repr()
_short.maxstring, _short.maxlevel = 60, 2


def faults(errors: Iterable[ErrorDetails]) -> list[tuple[str, str]]:
    """Return the field of each fault, `` for the whole, and a sentence that names it.

    Args:
        errors: As pydantic or FastAPI lists them.
    """
    return [_fault(one) for one in errors]


def _fault(error: ErrorDetails) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    field = ".".join(map(str, _place(error["loc"])))
    if kind == "json_invalid":
        return "", f"the request is no JSON: {context.get('error', error['msg'])}"
    if kind == "missing":
        return field, f"{field or 'the body'}: missing"
    if kind == "extra_forbidden":
        return field, f"{field}: there is no such field"
    if kind == "union_tag_not_found":
        return f"{field}.kind", f"{field}.kind: missing"
    if kind == "union_tag_invalid":
        known = context["expected_tags"].replace("'", "")
        return f"{field}.kind", f"{field}.kind = {context['tag']!r}: should be one of {known}"
    return field, f"{_given(field, error['input'])}: {_said(error)}"


def _said(error: ErrorDetails) -> str:
    pattern = error.get("ctx", {}).get("pattern")
    if error["type"] == "string_pattern_mismatch" and pattern in _PATTERNS:
        return _PATTERNS[pattern]
    said = _SAID.get(error["type"], error["msg"])
    for opening in ("Input", "String", "Tuple", "List", "Dictionary"):
        said = said.replace(f"{opening} should", "should")
    return said


def _given(field: str, value: Any) -> str:
    return f"{field or 'the body'} = {_short.repr(value)}"


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return where a fault is, in the words of who sent it."""
    if loc and loc[0] in _SOURCES:
        loc = loc[1:]
    # pydantic names the kind of a job after `job`, where the document has nothing.
    return (loc[0], *loc[2:]) if len(loc) > 2 and loc[0] == "job" else loc
