"""The process that predicts: kept, ended when idle, and bounded in time, memory and waiting."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scfae.service import Queue
from scfae.service.predictors import PredictLimits, Predictors
from scfae.store.atomic import sha256_file
from scfae.store.errors import PredictionFailed, ServiceBusy, UnknownColumn

from .services import make_service_store, wait_for
from .trained import checkpoint, trained_job

Model = tuple[Path, str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    root = tmp_path_factory.mktemp("stores")
    roots = make_service_store(root)
    queue = Queue(root / "service")
    job = trained_job(queue, roots, epochs=1, evaluated=False).id
    return queue.job(job).run_path, sha256_file(checkpoint(queue, job))


def ask(predictors: Predictors, model: Model, sample: str = "sample-00001") -> dict[str, Any]:
    return predictors.ask(*model, {"sample": sample})


def pid_of(predictors: Predictors) -> int | None:
    child = predictors._child
    return None if child is None else child._process.pid


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "predict.log"


def test_one_process_answers_until_it_is_idle(model: Model, log: Path) -> None:
    predictors = Predictors(log, PredictLimits(idle_s=1.5))
    answers = [ask(predictors, model)]
    first = pid_of(predictors)
    with pytest.raises(UnknownColumn):
        ask(predictors, model, "nobody")
    answers.append(ask(predictors, model))
    assert pid_of(predictors) == first
    assert answers[0] == answers[1]
    assert "temperature" not in answers[0]  # it was not evaluated
    wait_for(lambda: pid_of(predictors) is None, seconds=20)
    wait_for(lambda: not Path(f"/proc/{first}").exists(), seconds=20)
    assert ask(predictors, model) == answers[0]
    predictors.close()
    assert pid_of(predictors) is None


@pytest.fixture
def stopped(model: Model, log: Path) -> Iterator[Any]:
    """Return a maker of predictors whose process does not go on."""
    made: list[Predictors] = []

    def make(limits: PredictLimits, is_stopping: threading.Event) -> Predictors:
        predictors = Predictors(log, PredictLimits(), is_stopping=is_stopping.is_set)
        made.append(predictors)
        ask(predictors, model)
        predictors._limits = limits
        child = predictors._child
        assert child is not None
        child._process.send_signal(19)
        return predictors

    yield make
    for one in made:
        one.close()


def test_a_question_that_takes_too_long_is_given_up(stopped: Any, model: Model) -> None:
    predictors = stopped(PredictLimits(answer_s=0.5), threading.Event())
    with pytest.raises(PredictionFailed, match=r"within 0.5 s"):
        ask(predictors, model)
    predictors._limits = PredictLimits()
    assert ask(predictors, model)["present"]


def test_a_process_that_grows_too_large_is_ended(stopped: Any, model: Model) -> None:
    predictors = stopped(PredictLimits(memory_bytes=1 << 20), threading.Event())
    with pytest.raises(PredictionFailed, match="more than 1 MB of memory"):
        ask(predictors, model)


def test_a_server_that_ends_waits_for_no_answer(stopped: Any, model: Model) -> None:
    stopping = threading.Event()
    predictors = stopped(PredictLimits(), stopping)
    stopping.set()
    begun = time.monotonic()
    with pytest.raises(PredictionFailed, match="about to end"):
        ask(predictors, model)
    assert time.monotonic() - begun < 5


def test_only_so_many_may_wait(stopped: Any, model: Model) -> None:
    predictors = stopped(PredictLimits(waiting=1), threading.Event())
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            ask(predictors, model)
        except PredictionFailed as error:
            failed.append(error)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for one in threads:
        one.start()
    wait_for(lambda: predictors._asking == 2, seconds=10)
    with pytest.raises(ServiceBusy, match="asked for already"):
        ask(predictors, model)
    child = predictors._child
    assert child is not None
    time.sleep(0.6)  # at once, and it would be taken for one that had died before
    child.kill()
    for one in threads:
        one.join(timeout=60)
    assert len(failed) == 1  # the other got a process of its own
