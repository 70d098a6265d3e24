"""`scfae fusions` shows every method, all of one, and near names of a wrong one."""

import json

import pytest

from scfae.cli.fusions import run
from scfae.fusion import list_fusions
from scfae.store.errors import ConfigError


def test_every_method_is_a_line_and_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    table = capsys.readouterr().out.splitlines()
    assert run(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    names = [info.name for info in list_fusions()]
    assert [line.split()[0] for line in table[1 : 1 + len(names)]] == names
    assert [one["name"] for one in document] == names
    assert document[0]["recipe"]["stage_epochs"] == [125]
    assert document[0]["options"]["expansion"] == 2


def test_one_method_tells_its_recipe_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scfae"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "warmup_share=0.2" in text
    assert "shared_ratio=0.5" in text
    assert "arXiv 2410.15475v2" in text


def test_a_loss_that_compares_samples_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["misa"]) == 0
    assert "the samples of a batch, in diff, sim" in capsys.readouterr().out


def test_a_wrong_name_suggests_a_near_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'concat'"):
        run(["conkat"])
