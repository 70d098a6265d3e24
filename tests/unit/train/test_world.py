"""Processes that train together add up, share and agree; one alone does the same without them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.fusion.gradients import COMBINERS
from scfae.store.errors import ConfigError
from scfae.train.world import World, check_batches, join_world

WORKER = Path(__file__).with_name("world_worker.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("world")
    words = ["--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=3"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, str(WORKER), str(folder)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


def test_every_rank_learns_what_all_have(seen: list[dict[str, Any]]) -> None:
    for one in seen:
        assert one["size"] == 3
        assert one["sums"] == [3, 1.5]
        assert one["any"] == [True, False]
        assert one["least"] == 3
        assert one["first"] == {"rank": 0}
        assert one["all"] == [0, 10, 20]


@pytest.mark.parametrize("combiner", ["sum", "min_norm"])
def test_the_sums_of_each_loss_are_combined(seen: list[dict[str, Any]], combiner: str) -> None:
    # Six numbers: 1 + 2 + 3 of the first loss, three times -1 of the second.
    both = torch.stack([torch.full((6,), 6.0), torch.full((6,), -3.0)])
    expected = COMBINERS[combiner](both).view(2, 3)
    for one in seen:
        assert torch.tensor(one[combiner][0]).allclose(expected)


def test_a_parameter_that_one_rank_reaches_learns_on_all(seen: list[dict[str, Any]]) -> None:
    for one in seen:
        assert one["sum"][1] == [5.0] * 4
        assert one["pcgrad"][1] == [5.0] * 4
        assert one["pcgrad"][2] is None


def test_what_a_combiner_draws_is_one_draw_for_all(seen: list[dict[str, Any]]) -> None:
    assert seen[0]["pcgrad"] == seen[1]["pcgrad"] == seen[2]["pcgrad"]


def test_one_alone_is_a_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_world("cpu") as world:
        assert world == World()
        assert world.least(5) == 5
        assert world.any(True, False) == (True, False)
        assert world.gather("x") == ["x"]
        assert world.add_gradients([None], [torch.ones(1)]) == [None]


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda:1", "take --device cuda"),
        ("cuda", "start as many processes as GPUs"),
        ("mps", "cpu or cuda only"),
    ],
)
def test_a_device_for_one_is_refused_for_many(
    device: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "9"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=sentence), join_world(device):
        pass


def test_no_process_may_be_without_a_sample() -> None:
    for size, batch_size in ((1, 7), (2, 7), (4, 8), (3, 10)):
        check_batches(100, batch_size, World(size=size))
    with pytest.raises(ConfigError, match="the last batch of an epoch has 2, fewer than the 3"):
        check_batches(100, 7, World(size=3))
    with pytest.raises(ConfigError, match="8 fits"):
        check_batches(100, 7, World(size=4))
    with pytest.raises(ConfigError, match="start fewer"):
        check_batches(2, 2, World(size=3))
