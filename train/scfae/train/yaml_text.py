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
