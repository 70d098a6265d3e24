"""What narrows a list of jobs: `lr<1e-3 seed=3 metric>0.8`.

```
filter = term {" " term}              all must be true
term   = name op value                blanks around the op are allowed
name   = letter {letter | digit | . - _ @}
op     = < | <= | = | != | >= | >
value  = word | "words"               a number is compared as one, unless it is quoted
```

What a name means, and what it is looked up in, is said in `facts`.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, cast

from scfae.store.errors import FilterError

Op = Literal["<", "<=", "=", "!=", ">=", ">"]
_ORDER: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
}
_HEAD: Final = re.compile(r"([A-Za-z_][\w.@-]*)\s*(<=|>=|!=|<|>|=)\s*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s|\Z)')
_WORD: Final = re.compile(r"\S+")
_ESCAPE: Final = re.compile(r"\\(.)")
MOST_TERMS: Final = 20


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison.

    Attributes:
        name: Of what is compared.
        op: How.
        value: With what, as it was typed, without quotes.
        number: The value as a number; None if it is none, or was quoted.
        at: Where the term begins, in characters from 1.
        value_at: Where its value does.
    """

    name: str
    op: Op
    value: str
    number: float | None
    at: int
    value_at: int

    @property
    def is_order(self) -> bool:
        """Whether it asks for less or more, which only numbers are."""
        return self.op in _ORDER

    def holds(self, found: float) -> bool:
        """Return whether it is true of a number."""
        if self.is_order:
            return self.number is not None and _ORDER[self.op](found, self.number)
        return (found == self.number) == (self.op == "=")

    def wrong(self, what: str) -> NoReturn:
        """Say that it cannot be looked up.

        Raises:
            FilterError: Always.
        """
        _fail(self.at, what)


def read_filter(text: str) -> tuple[Term, ...]:
    """Return the terms of a filter.

    Args:
        text: Terms, and nothing else.

    Raises:
        FilterError: Says where what is due.
    """
    terms: list[Term] = []
    at = _skip(text, 0)
    while at < len(text):
        found = _term(text, at)
        if found is None:
            _fail(at + 1, "NAME<VALUE is due, with one of < <= = != >= > between.")
        term, end = found
        terms.append(term)
        if len(terms) > MOST_TERMS:
            _fail(at + 1, f"{MOST_TERMS} terms are the most.")
        at = _skip(text, end)
    return tuple(terms)


def split_filter(text: str) -> tuple[list[str], str]:
    """Part what was typed into words to be found and the filter among them.

    Returns:
        The words, and what is left of the text where they are blanked out, so that an error of the
        filter says where in the text it is.
    """
    words, kept = [], list(text)
    at = _skip(text, 0)
    while at < len(text):
        head = _HEAD.match(text, at)
        if head is not None:
            value = _value(text, head.end())
            at = _skip(text, value.end() if value is not None else head.end())
            continue
        word = _WORD.match(text, at)
        assert word is not None, "a blank was skipped"
        words.append(word[0])
        kept[word.start() : word.end()] = " " * len(word[0])
        at = _skip(text, word.end())
    return words, "".join(kept)


def _term(text: str, at: int) -> tuple[Term, int] | None:
    head = _HEAD.match(text, at)
    if head is None:
        return None
    name, op = head[1], cast(Op, head[2])
    begin = head.end()
    value = _value(text, begin)
    if value is None:
        _fail(begin + 1, f"a value is due after {name}{op}.")
    if text[begin] == '"' and value.re is _WORD:
        _fail(begin + 1, 'a " that ends the value is missing.')
    is_quoted = value.re is _QUOTED
    word = _ESCAPE.sub(r"\1", value[1]) if is_quoted else value[0]
    number = None if is_quoted else _number(word)
    if op in _ORDER and number is None:
        _fail(begin + 1, f"a number is due after {name}{op}.")
    return Term(name, op, word, number, at + 1, begin + 1), value.end()


def _value(text: str, at: int) -> re.Match[str] | None:
    return _QUOTED.match(text, at) or _WORD.match(text, at)


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _fail(at: int, what: str) -> NoReturn:
    raise FilterError(f"filter, character {at}: {what}")
