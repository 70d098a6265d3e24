"""Media of every fate, for every test of a whole extraction."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from . import media_kit as kit


@pytest.fixture(scope="session")
def kept_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine inputs; not to be changed."""
    folder = tmp_path_factory.mktemp("media")
    kit.write_clip(folder / "clip.mp4", frames=10, sound_s=0.4)
    kit.write_clip(folder / "silent.mp4", frames=10, sound_s=None)
    kit.write_wav(folder / "voice.wav", 0.3)
    kit.write_wav(folder / "blip.wav", 0.005)
    Image.fromarray(kit.picture(1)).save(folder / "still.png")
    cut = kit.move_index_first(folder / "cut.mp4", kit.write_clip, frames=50, sound_s=None)
    kit.keep_share(cut, 0.6)
    (folder / "text.mp4").write_text("no film at all")
    (folder / "empty.wav").touch()
    samples = kit.tone(0.3, 16_000)[0]
    samples[7] = np.nan
    kit.write_float_wav(folder / "nan.wav", samples)
    return folder


@pytest.fixture
def media(kept_media: Path, tmp_path: Path) -> Path:
    """The same to change as one likes."""
    return shutil.copytree(kept_media, tmp_path / "media")
