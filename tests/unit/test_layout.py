"""The house: one namespace, portions that import downwards, a wheel that holds every module."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("store", "extract", "fusion", "train")
PORTIONS = (
    "store/scfae/store",
    "extract/scfae/extract",
    "fusion/scfae/fusion",
    "train/scfae/train",
    "train/scfae/demo",
    "train/scfae/bench",
    "train/scfae/service",
    "train/scfae/cli",
)


def modules() -> list[Path]:
    return sorted(path for part in PARTS for path in (ROOT / part / "scfae").rglob("*.py"))


def test_no_portion_claims_the_namespace() -> None:
    # A stray scfae/__init__.py in one root makes every other portion vanish.
    assert not list(ROOT.glob("*/scfae/__init__.py"))


@pytest.mark.parametrize("portion", PORTIONS)
def test_portion_is_typed_and_has_an_init(portion: str) -> None:
    assert (ROOT / portion / "py.typed").exists()
    assert (ROOT / portion / "__init__.py").exists()


@pytest.mark.parametrize("part", PARTS)
def test_part_has_a_short_readme(part: str) -> None:
    text = (ROOT / part / "README.md").read_text()
    assert 10 <= len(text.splitlines()) <= 80


def test_no_file_outgrows_one_noun() -> None:
    long = {str(path.relative_to(ROOT)): n for path in modules() if (n := _lines(path)) > 450}
    assert long == {}


def test_parts_import_downwards_only() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_wheel_built_from_the_sdist_holds_every_module(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    result = subprocess.run(build, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"/".join(path.relative_to(ROOT).parts[1:]) for path in modules()}
    assert wanted <= held
    assert all(name.startswith("scfae") for name in held)


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
