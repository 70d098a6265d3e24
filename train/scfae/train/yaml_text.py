"""Settings as YAML that a person reads, and that is read back as the same settings."""

from collections.abc import Mapping
from typing import Any

import yaml


def to_yaml(settings: Mapping[str, Any]) -> str:
    """Return settings as YAML, in their order; letters of every script stay as they are."""
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    # PyYAML leaves bare a few characters that it takes for the end of a line when it reads.
    if yaml.safe_load(text) != settings:
        text = yaml.safe_dump(dict(settings), sort_keys=False)
    return text


def yaml_problem(error: Exception) -> str:
    """Return what is wrong in one line: PyYAML's own words are a page of excerpts."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}."
    return " ".join(str(error).split())
