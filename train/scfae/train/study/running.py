"""Run the study: tune every method alike, measure what validation chose on fresh draws.

```
OUT/
  form.json               which form it is
  conflict/               a question
    draw-0/, draw-1/ …    the stores of its draws; draw 0 is for tuning alone
    tune/gated/           a sweep: the trials of one method
    measured/1/           a sweep: every method's chosen setting on draw 1
  report.html, study.md, study.csv, study.json
```

All of it is sweeps, so the same command goes on where it was stopped or killed, and what is done is
not done again.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from scfae.extract.device import choose_device
from scfae.fusion import fusion_info
from scfae.store.errors import ConfigError
from scfae.store.store import FeatureStore

from ..evaluation import EVALUATION_FILE, evaluate
from ..loop import Progress
from ..runs import write_json
from ..sweeps.plan import SweepPlan
from ..sweeps.results import SweepResult
from ..sweeps.running import SweepInterrupted, Tell
from ..sweeps.sweep import check_jobs, run_plan
from .given import Given, GivenData
from .given_questions import given_questions
from .questions import QUESTIONS, SPACE, Entrant, Form, Question
from .side_by_side import Report, run_side_by_side
from .stores import LABEL, write_views

FORM_FILE = "form.json"
TUNING = 0
"""The draw on which settings are chosen."""
TUNING_SEED = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A method's runs for a question.

    Attributes:
        entrant: The method.
        setting: What validation chose; None where no trial ended well.
        runs: Its run on each draw that there is one of, by draw.
        failure: Why there is none.
    """

    entrant: Entrant
    setting: Mapping[str, Any] | None
    runs: Mapping[int, Path]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A question and every method's runs."""

    question: Question
    methods: tuple[Measured, ...]


class Study:
    """The study in a folder.

    Args:
        out: The folder, made if needed.
        form: How much work.
        questions: Which, in order.
        data: What `given_questions` are of; None for generated data.
        jobs: Questions at a time, each in a process of its own.
        device: Where models run.
        tell: Receives each run that ends, and why it failed, or None.
        progress: Receives (runs done, runs in all, what happens now).

    Raises:
        ConfigError: The folder holds the study in another form or of other data, jobs are fewer
            than one, or this machine has no such device; nothing was made then.
    """

    def __init__(
        self,
        out: str | Path,
        form: Form,
        questions: Sequence[Question],
        *,
        data: GivenData | None = None,
        jobs: int = 1,
        device: str = "cpu",
        tell: Tell | None = None,
        progress: Progress | None = None,
    ) -> None:
        check_jobs(jobs)
        choose_device(device)
        self.out, self.form, self.questions = Path(out), form, tuple(questions)
        self._jobs, self._device, self._data = jobs, device, data
        self._tell, self._progress = tell, progress
        self._done = 0
        _keep_form(self.out, form, data)

    @property
    def num_runs(self) -> int:
        """Runs in all."""
        each = self.form.num_trials + self.form.num_draws
        return sum(each * len(self.entrants(question)) for question in self.questions)

    def entrants(self, question: Question) -> tuple[Entrant, ...]:
        """Return the methods that a question is asked of."""
        return tuple(
            one
            for one in self.form.entrants
            if one.role != "variant" or self.form.name in question.variants
        )

    def run(self) -> tuple[Answered, ...]:
        """Run what is not done; return every question's runs.

        Raises:
            SweepInterrupted: SIGTERM or SIGINT came; checkpoints were written.
        """
        if self._jobs > 1:
            given = None if self._data is None else self._data.given
            signum = run_side_by_side(
                _run_question,
                [(self.out, self.form, one.name, given, self._device) for one in self.questions],
                jobs=self._jobs,
                progress=self._progress or (lambda done, total, text: None),
                total=self.num_runs,
            )
            if signum is not None:
                raise SweepInterrupted(signum, self.out)
        # What a process has not finished is done here, so that its error is raised here.
        return tuple(map(self._answer, self.questions))

    def _answer(self, question: Question) -> Answered:
        folder = self.out / question.name
        chosen, failures = {}, {}
        for entrant in self.entrants(question):
            plan = SweepPlan(
                self._base(question, TUNING), trials(entrant, self.form), (TUNING_SEED,)
            )
            result = self._sweep(plan, folder / "tune" / _slug(entrant.name))
            best = result.best
            if best is None:
                why = {run.failure for run in result.failed}
                failures[entrant.name] = "; ".join(sorted(filter(None, why))) or "no trial ended"
            else:
                chosen[entrant.name] = best.setting
        runs: dict[str, dict[int, Path]] = {}
        for draw in range(1, self.form.num_draws + 1):
            plan = SweepPlan(self._base(question, draw), tuple(chosen.values()), (draw,))
            result = self._sweep(plan, folder / "measured" / str(draw))
            for name, row in zip(chosen, result.settings, strict=True):
                (run,) = row.runs
                if run.failure is not None:
                    failures[name] = run.failure
                    continue
                runs.setdefault(name, {})[draw] = run.path
                if not (run.path / EVALUATION_FILE).is_file():
                    evaluate(
                        run.path,
                        device=self._device,
                        bootstrap=0,
                        probes=name == next(iter(chosen)),  # it is no matter of the method
                        missing_rates=question.rates,
                    )
        methods = tuple(
            Measured(one, chosen.get(one.name), runs.get(one.name, {}), failures.get(one.name))
            for one in self.entrants(question)
        )
        return Answered(question, methods)

    def _sweep(self, plan: SweepPlan, folder: Path) -> SweepResult:
        before = self._done

        def progress(done: int, total: int, text: str) -> None:
            if self._progress is not None:
                self._progress(before + done, self.num_runs, text)

        result = run_plan(plan, folder, bootstrap=None, tell=self._tell, progress=progress)
        self._done += len(result.runs)
        return result

    def _base(self, question: Question, draw: int) -> dict[str, Any]:
        store = _store(self.out / question.name / f"draw-{draw}", question, self.form, draw)
        return {
            "store": str(store.path.resolve()),
            "columns": {name: name for name in store.columns},
            "label": LABEL,
            "epochs": self.form.epochs,
            "batch_size": min(self.form.batch_size, _counts(question, self.form)["train"] // 4),
            "clip_norm": 1.0,
            "device": self._device,
            "trackers": [],
            "checkpoint_every_s": None,
        }


def hush() -> None:
    """Keep this process from saying of every run that samples lack views: the question asks so."""
    logging.getLogger("scfae.train").setLevel(logging.ERROR)


def _run_question(
    out: Path, form: Form, name: str, given: Given | None, device: str, report: Report
) -> None:
    hush()
    data = None if given is None else GivenData(given, form)
    asked = QUESTIONS if data is None else given_questions(data, form)
    (question,) = (one for one in asked if one.name == name)
    study = Study(
        out,
        form,
        [question],
        data=data,
        device=device,
        progress=lambda done, total, text: report(done, f"{name}: {text}"),
    )
    with suppress(SweepInterrupted):  # who asked for that says so
        study.run()


def trials(entrant: Entrant, form: Form) -> tuple[dict[str, Any], ...]:
    """Return the settings that a method tries: the same points of the same space for all.

    Args:
        entrant: The method.
        form: Has the number of trials.
    """
    combiner = fusion_info(entrant.fusion).recipe.combiner
    points = qmc.Sobol(d=len(SPACE), seed=0).random(form.num_trials)
    return tuple(
        {**entrant.settings(), "combiner": combiner}
        | {key: _value(SPACE[key], x) for key, x in zip(SPACE, point, strict=True)}
        for point in points
    )


def _value(one: tuple[Any, Any], x: float) -> Any:
    low, high = one
    if isinstance(low, str):
        return low if x < 0.5 else high
    return float(f"{np.exp(np.log(low) + x * np.log(high / low)):.3g}")


def _store(folder: Path, question: Question, form: Form, draw: int) -> FeatureStore:
    if folder.is_dir():
        return FeatureStore.open(folder)
    counts = _counts(question, form)
    folder.parent.mkdir(parents=True, exist_ok=True)
    views = question.make(draw, sum(counts.values()), question.widths[form.name])
    return write_views(folder, views, counts, seed=draw, missing=question.missing)


def _counts(question: Question, form: Form) -> dict[str, int]:
    return {**form.counts, **question.counts}


def _keep_form(out: Path, form: Form, data: GivenData | None) -> None:
    path = out / FORM_FILE
    now: dict[str, Any] = {
        "form": form.name,
        "trials": form.num_trials,
        "counts": dict(form.counts),
        "epochs": form.epochs,
        "batch_size": form.batch_size,
    }
    if data is not None:
        now["data"] = data.facts()
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before.get("data") != now.get("data"):
            raise ConfigError(
                f"{out} holds the study of other data, or of these as they were before they "
                "changed: choose another folder with --out."
            )
        if before != now:
            raise ConfigError(
                f"{out} holds the study as {before.get('form')}, with other numbers of trials, "
                "samples or epochs: choose another folder with --out."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, now)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
