"""How an extraction is dealt out on Ray, without a cluster; a real one is in tests/fault."""

import socket
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from scfae.extract import ray_pool
from scfae.extract.done import Done
from scfae.extract.ray_pool import Share, check_reachable, share_of
from scfae.extract.settings import ExtractSettings
from scfae.extract.shard_work import ShardTask
from scfae.store.errors import ConfigError, StoreError, StoreFull

from .small_jobs import run


class Gone(Exception):
    """As ray.exceptions.RayActorError."""


class Unavailable(Gone):
    """As ray.exceptions.ActorUnavailableError."""


class TaskError(Exception):
    """As ray.exceptions.RayTaskError."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class FakeRay:
    """Ray with actors that do what a script says, shard by shard."""

    class exceptions:  # noqa: N801
        RayError = Exception
        RayActorError = Gone
        ActorUnavailableError = Unavailable
        RayTaskError = TaskError

    def __init__(self, script: dict[int, list[Exception]]) -> None:
        self.script = script
        self.begun = 0
        self.done: list[int] = []

    def remote(self, kind: Any) -> "FakeRay":
        outer = self

        class Method:
            def __init__(self, call: Any) -> None:
                self.remote = call

        class Actor:
            def __init__(self) -> None:
                outer.begun += 1
                self.ready = Method(lambda: (id(self), object(), lambda: None))
                self.extract = Method(lambda s, m: (id(self), object(), lambda: outer.make(s, m)))

        class Kind:
            def options(self, **options: Any) -> Any:
                assert options["max_task_retries"] == 0
                return Method(lambda settings: Actor())

        kind_of_actor: Any = Kind()
        return kind_of_actor  # type: ignore[no-any-return]

    def make(self, shard: int, missing: tuple[str, ...]) -> Any:
        if self.script.get(shard):
            raise self.script[shard].pop(0)
        self.done.append(shard)
        return Done([ShardTask(shard, missing)], files=2).to_json()

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> Any:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        return reference[2]()


def deal(script: dict[int, list[Exception]], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Done]:
    monkeypatch.setattr(ray_pool, "_POLL_S", 0.0)
    ray = FakeRay(script)
    told: list[int] = []
    dealer = ray_pool._Dealer(ray, {}, Share(2, 1, 0), lambda done: told.append(done.files))
    done = dealer.run(deque(ShardTask(shard, ("a",)) for shard in range(5)))
    assert told == [2, 4, 6, 8, 10]
    return ray, done


def test_each_shard_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, done = deal({}, monkeypatch)
    assert sorted(ray.done) == [0, 1, 2, 3, 4]
    assert sorted(task.shard for task in done.tasks) == [0, 1, 2, 3, 4]
    assert ray.begun == 2


def test_the_shard_of_a_dead_actor_is_dealt_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, _ = deal({1: [Gone("died"), Unavailable("restarting")], 3: [Gone("died")]}, monkeypatch)
    assert sorted(ray.done) == [0, 1, 2, 3, 4]
    assert ray.begun == 2 + 2  # one that is restarting is waited for


def test_a_shard_that_always_fails_is_given_up_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deal({2: [TaskError(StoreFull("no space")) for _ in range(3)]}, monkeypatch)
    with pytest.raises(StoreFull, match="no space"):
        deal({2: [TaskError(StoreFull("no space")) for _ in range(4)]}, monkeypatch)
    with pytest.raises(StoreError, match=r"shard 2 failed 4 times \(died\)"):
        deal({2: [Gone("died") for _ in range(4)]}, monkeypatch)


def settings(**more: Any) -> ExtractSettings:
    return ExtractSettings("media", "store", ("ge2e",), **more)


@pytest.mark.parametrize(
    ("resources", "more", "share"),
    [
        ({"CPU": 8.0}, {}, Share(8, 1, 0)),
        ({"CPU": 8.0}, {"workers": 3}, Share(2, 3, 0)),
        ({"CPU": 8.0, "GPU": 2.0}, {}, Share(2, 4, 1)),
        ({"CPU": 2.0, "GPU": 4.0}, {}, Share(2, 1, 1)),
        ({"CPU": 8.0, "GPU": 2.0}, {"device": "cpu"}, Share(8, 1, 0)),
    ],
)
def test_actors_fill_the_cluster(
    resources: dict[str, float], more: dict[str, Any], share: Share
) -> None:
    assert share_of(resources, settings(**more)) == share


def test_what_a_cluster_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="--device cuda: the Ray cluster has no GPU"):
        share_of({"CPU": 8.0}, settings(device="cuda"))
    with pytest.raises(ConfigError, match="--workers 9: the Ray cluster has 8 CPUs"):
        share_of({"CPU": 8.0}, settings(workers=9))


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable(f"127.0.0.1:{port}")
    with pytest.raises(OSError, match="refused"):
        check_reachable(f"127.0.0.1:{port}")
    check_reachable("auto")


def test_without_ray_the_extra_is_named(
    kept_media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'scfae\[ray\]'"):
        run(kept_media, tmp_path / "store", ["ge2e"], ray="auto")
    with pytest.raises(ConfigError, match="leave out --claim"):
        run(kept_media, tmp_path / "store", ["ge2e"], ray="auto", claim=True)
    assert not (tmp_path / "store").exists()
