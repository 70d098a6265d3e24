"""Encoders of other packages: a package that is built and installed, and entry points that fail."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scfae.extract import extract, list_encoders, load_encoder
from scfae.extract.registry import entries
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError

from . import media_kit as kit

SOURCE = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the plug-in's wheel is installed into."""
    source = shutil.copytree(SOURCE, tmp_path_factory.mktemp("source") / "plugin")
    build = (
        "from hatchling.builders.wheel import WheelBuilder;"
        "print(*WheelBuilder('.').build(directory='dist', versions=['standard']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True
    )
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--disable-pip-version-check", "--root-user-action=ignore"),
            *("--target", str(folder), result.stdout.strip()),
        ],
        cwd=source,
        check=True,
    )
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "scfae_colour"]:
        del sys.modules[name]


def test_an_installed_plug_in_is_listed(installed: Path) -> None:
    assert (installed / "scfae_colour-1.0.dist-info" / "entry_points.txt").is_file()
    (info,) = (info for info in list_encoders() if info.name == "mean-colour")
    assert list(entries())[-1] == "mean-colour"
    assert (info.dim, info.licence, info.is_available) == (4, "CC0-1.0", False)
    code = "import sys; from scfae.cli import main; sys.exit(main(['encoders']))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "mean-colour  (image, 4-d, 5 rows/s)" in result.stdout


def test_an_installed_plug_in_fills_a_column(installed: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    kit.write_clip(media / "a.mp4", frames=10, sound_s=None)
    report = extract(media, tmp_path / "store", ["mean-colour@random:1:fps=10"], workers=1)
    assert report.columns[0].counts["ok"] == 1
    assert report.columns[0].is_random
    rows, _ = load_encoder("mean-colour@random:1:fps=10").extract(media / "a.mp4")
    view = FeatureStore.open(tmp_path / "store").view(video="mean-colour.fps=10.0")
    # A product of another number of rows may end in another last bit, by the CPU's kernels.
    np.testing.assert_allclose(view[0].features["video"], rows, rtol=1e-6)
    assert rows.shape == (4, 4)


def point_at(folder: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put metadata with one entry point on the path."""
    metadata = folder / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[scfae.encoders]\nbroken = {value}\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("math:pi", "entry point math:pi: is no EncoderEntry"),
        ("math:absent", "entry point math:absent: cannot be loaded"),
        ("no_such_module:entry", "entry point no_such_module:entry: cannot be loaded"),
    ],
)
def test_a_plug_in_that_gives_no_entry_is_named(
    value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(tmp_path, value, monkeypatch)
    with pytest.raises(ConfigError, match=says):
        list_encoders()
