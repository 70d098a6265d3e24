"""One set of settings, three spellings; everything that is wrong is named at once."""

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from scfae.store.errors import ConfigError
from scfae.train.arguments import ResumeRequest, parse_train_args
from scfae.train.config import RunConfig, load_config
from scfae.train.settings import GROUP_OF, GROUPS, DataConfig

BASE: dict[str, Any] = {
    "store": "features",
    "columns": {"video": "v", "audio": "a"},
    "label": "digit",
    "run": "runs/one",
}


def problems(overrides: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides)
    return str(caught.value)


def test_defaults_are_the_papers() -> None:
    config = load_config(None, BASE)
    assert config.optim.lr == 5e-4
    assert config.optim.lr_start == 2.5e-5
    assert config.optim.warmup == 0.2
    assert config.optim.weight_decay == 0.01
    assert config.model.loss_weights == {}
    assert config.loop.select == "auto"


def test_flat_nested_and_flags_mean_the_same(tmp_path: Path) -> None:
    flat = BASE | {"epochs": 10, "batch_size": 16, "masking": "bernoulli:0.3", "lr": "1e-3"}
    nested: dict[str, Any] = {group: {} for group in GROUPS}
    for name, value in flat.items():
        nested[GROUP_OF[name]][name] = value
    (tmp_path / "flat.yaml").write_text(yaml.safe_dump(flat, sort_keys=False))
    (tmp_path / "nested.yaml").write_text(yaml.safe_dump(nested, sort_keys=False))
    words = "--store features --columns video=v audio=a --label digit --run runs/one --epochs 10"
    words += " --batch-size 16 --masking bernoulli:0.3 --lr 1e-3"
    configs = [
        load_config(None, flat),
        load_config(tmp_path / "flat.yaml", None),
        load_config(tmp_path / "nested.yaml", None),
        parse_train_args(words.split()),
        parse_train_args([str(tmp_path / "nested.yaml")]),
    ]
    assert all(config == configs[0] for config in configs)
    assert isinstance(configs[0], RunConfig)
    assert configs[0].optim.lr == 1e-3


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(BASE | {"epochs": 3, "lr": 0.1}))
    config = parse_train_args(
        [str(path), "--epochs", "7", "--options", "expansion=3", "reconstruct=false"]
    )
    assert isinstance(config, RunConfig)
    assert (config.optim.epochs, config.optim.lr) == (7, 0.1)
    assert config.model.options == {"expansion": 3, "reconstruct": False}


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\ufeff", "é", "\U0001d6fc", "#", ": "])
def test_yaml_reads_back_whatever_letters_it_has(letter: str) -> None:
    config = load_config(None, BASE | {"run": f"runs/a{letter}b"})
    assert yaml.safe_load(config.yaml())["loop"]["run"] == f"runs/a{letter}b"


def test_yaml_of_a_config_reads_back(tmp_path: Path) -> None:
    config = load_config(None, BASE | {"where": {"fake": 0, "name": "x"}, "clip_norm": 1.0})
    path = tmp_path / "config.yaml"
    path.write_text(config.yaml())
    again = load_config(path, None)
    assert again == config
    assert again.digest() == config.digest()
    assert list(again.data.columns) == ["video", "audio"]


def test_every_problem_is_named_with_value_and_range() -> None:
    text = problems(
        BASE
        | {"epochs": 0, "lr": -1, "warmup": 2, "beta1": 1.0, "fusion": "concatt", "device": "gpu"}
        | {"masking": "bernoulli:2", "select": "test", "class_weights": "some", "btach_size": 3}
    )
    for needle in (
        "epochs = 0",
        "greater than or equal to 1",
        "lr = -1",
        "warmup = 2",
        "beta1 = 1.0",
        "device = 'gpu'",
        "class_weights = 'some'",
        "'balanced'",
        "fusion = 'concatt'",
        "Did you mean concat",
        "select = 'test'",
        "btach_size = 3",
        "Did you mean batch_size",
    ):
        assert needle in text, text


@pytest.mark.parametrize("policy", ["none", "subsets", "bernoulli:0.3", "only:audio", "only:video"])
def test_masking_policies(policy: str) -> None:
    assert load_config(None, BASE | {"masking": policy}).loop.masking == policy


@pytest.mark.parametrize("policy", ["nonee", "bernoulli", "bernoulli:2", "only:text", "only:"])
def test_wrong_masking_is_named(policy: str) -> None:
    assert f"masking = {policy!r}" in problems(BASE | {"masking": policy})


def test_missing_settings_are_all_named() -> None:
    text = problems({})
    for name in ("store", "columns", "label", "run"):
        assert f"{name}: missing" in text


def test_given_twice_or_group_that_is_no_mapping() -> None:
    assert "epochs: given twice" in problems(BASE | {"epochs": 1, "optim": {"epochs": 2}})
    assert "optim = 3: a group" in problems(BASE | {"optim": 3})
    assert "optim.label" in problems(BASE | {"optim": {"label": "x"}})


@pytest.mark.parametrize("modality", ["split", "a b", "labels"])
def test_modality_names_that_cannot_be(modality: str) -> None:
    assert f"columns.{modality}" in problems(BASE | {"columns": {modality: "v"}})


def test_values_inside_a_mapping_are_named_with_their_key() -> None:
    assert "loss_weights.recon = -1" in problems(BASE | {"loss_weights": {"recon": -1}})
    assert "where.fake" in problems(BASE | {"where": {"fake": [1]}})


def test_pydantics_own_words_are_not_shown() -> None:
    text = problems(BASE | {"columns": {}, "run": "", "device": "gpu"})
    assert "columns = {}: at least one is due (Column of each modality" in text
    assert "run = '': must not be empty" in text
    assert "device = 'gpu': is none of those there are (auto, cpu, cuda or cuda:N" in text
    assert "Several of one: as branches" in text  # one line, whatever the source's lines


def test_a_word_where_an_option_of_the_method_is_a_number() -> None:
    text = problems(BASE | {"fusion": "concat", "options": {"hidden": "many"}})
    assert "options.hidden = 'many': a word; 256 or the like is due" in text


@pytest.mark.parametrize("content", ["- 1\n", "a: [", "3\n"])
def test_files_that_are_no_config(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        load_config(path, None)
    with pytest.raises(ConfigError, match=r"is a folder; a YAML file is due .*--resume"):
        load_config(tmp_path, None)
    with pytest.raises(ConfigError, match="there is no config file"):
        load_config(tmp_path / "nowhere.yaml", None)


def test_differences_name_fields_and_mind_the_order_of_columns() -> None:
    one = load_config(None, BASE)
    assert one.differences(load_config(None, BASE | {"run": "elsewhere"})) == {}
    other = load_config(None, BASE | {"epochs": 3})
    assert one.differences(other) == {"epochs": (20, 3)}
    turned = load_config(None, BASE | {"columns": {"audio": "a", "video": "v"}})
    assert list(one.differences(turned)) == ["columns"]


def test_resume_needs_no_config_and_takes_none() -> None:
    assert parse_train_args(["--resume", "runs/one"]) == ResumeRequest(Path("runs/one"))
    with pytest.raises(ConfigError, match="--epochs"):
        parse_train_args(["--resume", "runs/one", "--epochs", "3"])


def test_unknown_flag_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_train_args(["--btach-size", "3"])
    assert caught.value.code == 2
    assert "--btach-size" in capsys.readouterr().err


def test_word_that_is_no_pair_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_train_args(["--columns", "video"])
    assert caught.value.code == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_help_shows_every_field_without_torch() -> None:
    code = (
        "import sys\n"
        "from scfae.train.arguments import parse_train_args\n"
        "try:\n    parse_train_args(['--help'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name in GROUP_OF:
        assert f"--{name.replace('_', '-')} " in result.stdout
    text = " ".join(result.stdout.replace("│", " ").split())  # lines break where the box ends
    assert "(required)" in text
    assert "(default: 0.0005)" in text
    assert "scfae train --resume" in result.stdout


def test_field_names_are_unique_and_described() -> None:
    names = [name for kind in GROUPS.values() for name in kind.model_fields]
    assert len(names) == len(set(names))
    assert all(info.description for kind in GROUPS.values() for info in kind.model_fields.values())


def test_every_task_can_be_chosen() -> None:
    from scfae.train.tasks import TASKS

    assert set(get_args(DataConfig.model_fields["task"].annotation)) == set(TASKS)
