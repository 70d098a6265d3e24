"""A search: settings that Optuna proposes, one after the other, by what validation said before.

The trials are kept in the sweep's folder as Optuna keeps them (`optuna.journal`, which its
dashboard reads too). A trial is a setting with every seed, its value the mean of the validation
figure. What is proposed depends on the search's seed, on the trials that have ended and on how many
are tried at a time, not on when a process was killed: a trial that was under way is gone on with.
"""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfae.store import FeatureStore
from scfae.store.config import digest
from scfae.store.errors import ConfigError, RunStateError

from ..config import RunConfig
from ..selection import fit_task, selected_metric
from ..splits import make_splits
from ..tasks import LOWER_IS_BETTER
from .folder import SweepFolder
from .plan import Cell, SweepPlan
from .results import read_results
from .space import Search

if TYPE_CHECKING:
    import optuna

JOURNAL_FILE = "optuna.journal"
STUDY = "sweep"


def check_extra() -> None:
    """Check that Optuna is installed.

    Raises:
        ConfigError: It is not; names the extra.
    """
    if find_spec("optuna") is None:
        raise ConfigError("--search: needs the extra: pip install 'scfae[optuna]'.")


class Study:
    """Optuna's study in a sweep's folder; the folder must be held.

    Args:
        folder: The sweep's.
        search: What is tried.
        metric: The validation figure that a trial's value is.
    """

    def __init__(self, folder: Path, search: Search, metric: str) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = folder / JOURNAL_FILE
        _mend(path)
        try:
            # Whoever holds the folder is alone here, and a killed process leaves no lock behind.
            lock: Any = _NoLock()
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            self._study = optuna.create_study(
                storage=storage,
                study_name=STUDY,
                direction="minimize" if metric in LOWER_IS_BETTER else "maximize",
                load_if_exists=True,
            )
        except (ValueError, KeyError) as error:
            raise RunStateError(f"{path} is damaged: {error}") from None
        self._search = search
        self._distributions = {key: _distribution(one) for key, one in search.space.items()}

    def whole(self) -> list["optuna.trial.FrozenTrial"]:
        """Return the trials in order, without those that a kill left half proposed."""
        keys = set(self._distributions)
        trials = self._study.get_trials(deepcopy=False)
        return [one for one in trials if set(one.params) == keys][: self._search.trials]

    def under_way(self) -> list["optuna.trial.FrozenTrial"]:
        """Return the trials that have no value yet."""
        return [one for one in self.whole() if not one.state.is_finished()]

    def propose(self) -> None:
        """Add a trial."""
        from optuna.samplers import TPESampler

        # A sampler of its own for each: where it stands is then no state that a kill could lose.
        number = len(self.whole())
        seed = int(digest([self._search.seed, number])[:8], 16)
        self._study.sampler = TPESampler(seed=seed)
        self._study.ask(fixed_distributions=self._distributions)

    def setting(self, trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
        """Return what a trial tries, by key of the config."""
        return {
            key: _choice(one, trial.params[key]) if isinstance(one, list) else trial.params[key]
            for key, one in self._search.space.items()
        }

    def tell(self, trial: "optuna.trial.FrozenTrial", value: float | None) -> None:
        """Give a trial its value; None for one that failed."""
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(trial.number, state=TrialState.FAIL)
        else:
            self._study.tell(trial.number, value)


class Searching:
    """A search that goes on until so many trials have ended.

    Args:
        sweep: Its folder, held.
        plan: With a search.
        jobs: Runs at a time; so many trials are proposed at once that all have work.
    """

    def __init__(self, sweep: SweepFolder, plan: SweepPlan, jobs: int) -> None:
        assert plan.search is not None
        self._sweep, self._plan, self._search = sweep, plan, plan.search
        probe = plan.probe().cells(sweep.path)[0].config
        self._study = Study(sweep.path, plan.search, _metric(probe))
        self._at_once = -(-jobs // len(plan.seeds))

    def plan(self) -> SweepPlan:
        """Return the plan of all that has been proposed."""
        settings = tuple(map(self._study.setting, self._study.whole()))
        return SweepPlan(self._plan.base, settings, self._plan.seeds, self._search)

    def cells(self) -> list[Cell]:
        """Return the runs of all that has been proposed, where they are."""
        return self._cells(self._study.whole())

    def cells_under_way(self) -> list[Cell]:
        """Return the runs of the trials that have no value yet."""
        return self._cells(self._study.under_way())

    def propose(self) -> bool:
        """Propose what is tried next, beside what is under way; return whether there is any."""
        whole, under_way = len(self._study.whole()), len(self._study.under_way())
        for _ in range(min(self._at_once - under_way, self._search.trials - whole)):
            self._study.propose()
        self._sweep.ask(self.plan().as_dict())
        return bool(self._study.under_way())

    def tell(self) -> None:
        """Give what has ended its value: the mean over seeds, on validation."""
        for trial in self._study.under_way():
            (row,) = read_results(self._sweep, self._cells([trial])).settings
            self._study.tell(trial, row.validation.mean if row.is_whole else None)

    def _cells(self, trials: Sequence["optuna.trial.FrozenTrial"]) -> list[Cell]:
        settings = tuple(map(self._study.setting, trials))
        plan = SweepPlan(self._plan.base, settings, self._plan.seeds)
        return self._sweep.placed(plan.cells(self._sweep.path))


def _metric(config: RunConfig) -> str:
    store = FeatureStore.open(config.data.store, check=config.loop.check)
    return selected_metric(config, fit_task(config, make_splits(store, config.data)))


def _distribution(one: Any) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(one, list):
        return CategoricalDistribution([json.dumps(choice) for choice in one])
    ((kind, (low, high)),) = one.items()
    if kind in ("int", "log-int"):
        return IntDistribution(low, high, log=kind == "log-int")
    return FloatDistribution(low, high, log=kind == "log")


def _choice(choices: Sequence[Any], spelled: str) -> Any:
    return next(choice for choice in choices if json.dumps(choice) == spelled)


class _NoLock:
    """Stands where Optuna locks its file."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


def _mend(path: Path) -> None:
    """Cut off the line that a killed process did not finish: Optuna would refuse the whole file."""
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with open(path, "r+b") as file:
                file.truncate(whole)
