"""Where encoders run: what the machine has not is refused before anything is read."""

from pathlib import Path

import pytest

from scfae.extract import extract
from scfae.store.errors import ConfigError


@pytest.mark.parametrize("name", ["abacus", "cpu:x", "mtia"])
def test_no_such_device(tmp_path: Path, name: str) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.txt").write_text("a word")
    with pytest.raises(ConfigError, match=f"--device {name}: this machine has no such device; cpu"):
        extract(media, tmp_path / "features", ["r2plus1d-18@random:1"], device=name)
    assert not (tmp_path / "features").exists()
