"""The command line without any work done: help, wrong words, start-up time."""

import subprocess
import sys

import pytest

from scfae.cli import main


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from scfae.cli import main; main(['--help']);"
        "names = {'torch', 'numpy', 'pydantic', 'tyro', 'pyarrow', 'zarr', 'h5py'};"
        "heavy = names & set(sys.modules);"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_command_shows_usage_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: scfae" in capsys.readouterr().out


def test_wrong_command_suggests_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extrct"]) == 2
    assert "Did you mean 'extract'?" in capsys.readouterr().err


def test_wrong_store_action_suggests_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verfy", "x"]) == 2
    assert "Did you mean 'verify'?" in capsys.readouterr().err


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("scfae 0.")


def test_debug_shows_the_error_itself() -> None:
    with pytest.raises(FileNotFoundError):
        main(["--debug", "store", "info", "/nowhere/at/all"])


def test_a_warning_is_one_sentence_without_a_line_of_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from scfae.cli.main import show_warning

    show_warning("the lamp is off", UserWarning, "house.py", 3)
    assert capsys.readouterr().err == "scfae: the lamp is off\n"
    show_warning("soon gone", DeprecationWarning, "house.py", 3)
    assert "house.py:3: DeprecationWarning: soon gone" in capsys.readouterr().err
