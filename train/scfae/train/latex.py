"""Text as LaTeX: what has a meaning of its own there is spelled out."""

from typing import Final

_SPELLED: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{GREEK SMALL LETTER LAMDA}": r"$\lambda$",
    "\N{SUPERSCRIPT TWO}": r"$^2$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
}


def latex(text: str) -> str:
    """Return a text that LaTeX prints as it is."""
    return "".join(_SPELLED.get(letter, letter) for letter in text)
