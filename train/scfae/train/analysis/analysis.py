"""`analyse`: what there is to know of a trained run beside its figures, kept in `RUN/analysis/`.

```
RUN/analysis/
  analysis.json      everything that follows, summed up
  gradients.csv      how gradients met at each sampled step, if the run kept that
  sharing.csv        what pairs of parts share
  probes.csv         what a linear model tells from each part
  projection.csv     each sample's parts in the plane, by PCA and by t-SNE
  contributions.csv  what each modality adds to each sample's answer
  *.png *.pdf        plots of them
```

What a run's method or task does not allow is left out, and said; asked for by name it is an error.
What an earlier call looked at and this one did not stays there, see `basis`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scfae.extract.device import choose_device
from scfae.store import FeatureStore, StoreView
from scfae.store.errors import ConfigError, RunStateError, TaskError

from ..branch_masking import mask_branches
from ..evaluation import role_of
from ..gradient_log import logged_figures, read_lines
from ..gradients import GradientFigures, analyse_gradients
from ..loading import LoadedRun, load_run
from ..probes import Probe
from ..splits import make_splits
from ..tasks import Classification, Retrieval
from ..tasks.labels import class_values
from .basis import ASPECTS, Aspect, basis_of
from .contributions import Contributions, contributions
from .part_probes import part_probes
from .parts import parts_of
from .projection import Projection, project
from .sharing import SEEDS, Sharing, sharing_of

FOLDER: Final = "analysis"
DOCUMENT: Final = "analysis.json"


@dataclass(slots=True)
class Analysis:
    """What was found; what was not looked at is empty.

    Attributes:
        run: The run's folder.
        split: What parts and contributions are of.
        ids: Sample ids of the split.
        classes: Class of each of its samples; None where the task has none.
        gradients: Of the selected model, by modality.
        training: Of the steps sampled in training, by modality; {} where none were.
        lines: These steps, as `gradients.jsonl` has them.
        sharing: What pairs of parts share.
        probes: Linear models of the parts.
        projection: Parts in the plane.
        branches: Figures with one branch of SCFAE alone, on the test split.
        contributions: What each modality adds.
        left_out: Why an aspect is not there.
        of: The checkpoint and the data.
        looked_at: The aspects that are there, each with its split.
    """

    run: Path
    split: str
    ids: list[str]
    classes: list[str] | None = None
    gradients: dict[str, GradientFigures] = field(default_factory=dict)
    training: dict[str, GradientFigures] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    sharing: tuple[Sharing, ...] = ()
    probes: dict[str, Probe] = field(default_factory=dict)
    projection: Projection | None = None
    branches: dict[str, Any] = field(default_factory=dict)
    contributions: Contributions | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    of: dict[str, Any] = field(default_factory=dict)
    looked_at: dict[Aspect, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.run / FOLDER

    def as_dict(self, *, bootstrap: int = 1000) -> dict[str, Any]:
        """Return it as plain JSON values, samples aside.

        Args:
            bootstrap: Resamples behind the intervals of contributions.
        """
        added = self.contributions
        return {
            "run": str(self.run),
            "of": self.of,
            "splits": dict(self.looked_at),
            "gradients": {name: one.as_dict() for name, one in self.gradients.items()},
            "training": {name: one.as_dict() for name, one in self.training.items()},
            "sharing": [one.as_dict() for one in self.sharing],
            "probes": {name: one.as_dict() for name, one in self.probes.items()},
            "projection": None if self.projection is None else self.projection.facts(),
            "branches": self.branches,
            "contributions": None
            if added is None
            else {
                "what": added.what,
                "none": float(added.none.mean()),
                "everything": float(added.everything.mean()),
                "modalities": added.summary(resamples=bootstrap),
            },
            "left_out": self.left_out,
        }


def analyse(
    run: str | Path,
    *,
    split: str | None = None,
    aspects: Sequence[Aspect] | None = None,
    num_batches: int = 50,
    most_shown: int = 300,
    seed: int = 1,
    club_seeds: int = SEEDS,
    bootstrap: int = 1000,
    device: str = "cpu",
) -> Analysis:
    """Return what there is to know of a run beside its figures.

    Args:
        run: The run folder.
        split: train, val or test (the default), or the store's name of one of these.
        aspects: Which of `ASPECTS`; all that the run allows if not given.
        num_batches: Training batches that the selected model's gradients are of.
        most_shown: Samples in the plane.
        seed: Of t-SNE.
        club_seeds: Estimators of what parts share.
        bootstrap: Resamples behind intervals; 0 leaves them out.
        device: Where the model runs.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If an aspect, a split or a number is wrong.
        RunStateError: If an aspect that was named is not there for the run's method or task.
        TaskError: If the split is empty.
    """
    unknown = [one for one in aspects or () if one not in ASPECTS]
    if unknown:
        raise ConfigError(f"aspects: there is no {', '.join(unknown)}; {', '.join(ASPECTS)} are.")
    if most_shown < 1:
        raise ConfigError(f"shown: must be at least 1, not {most_shown}.")
    if bootstrap < 0:
        raise ConfigError(f"bootstrap must be at least 0, not {bootstrap}.")
    place = choose_device(device)
    loaded = load_run(run, device=place)
    config = loaded.config
    role = role_of(split, config)
    splits = make_splits(FeatureStore.open(config.data.store, check=config.loop.check), config.data)
    view: StoreView = getattr(splits, role)
    if not len(view):
        raise TaskError(f"the {role} split is empty: there is nothing to analyse.")
    found = Analysis(loaded.run.path, role, view.ids.tolist(), _classes(loaded, view))
    found.of = basis_of(loaded, splits)
    found.lines = read_lines(loaded.run.path)
    found.training = logged_figures(found.lines)

    def gradients() -> None:
        found.gradients = analyse_gradients(run, num_batches=num_batches, device=place)

    def parts() -> None:
        every = parts_of(loaded, view, device=place)
        found.projection = project(every, len(view), most=most_shown, seed=seed)
        found.sharing = sharing_of(every, seeds=club_seeds)
        found.probes = part_probes(loaded, splits, every, device=place)

    def branches() -> None:
        found.branches = mask_branches(run, device=place, bootstrap=bootstrap)

    def added() -> None:
        found.contributions = contributions(loaded, view, device=place)

    work: dict[Aspect, Callable[[], None]] = {
        "gradients": gradients,
        "parts": parts,
        "branches": branches,
        "contributions": added,
    }
    for name in ASPECTS if aspects is None else aspects:
        try:
            work[name]()
            found.looked_at[name] = {"gradients": "train", "branches": "test"}.get(name, role)
        except RunStateError as error:
            if aspects is not None:
                raise
            found.left_out[name] = str(error)
    return found


def _classes(loaded: LoadedRun, view: StoreView) -> list[str] | None:
    task = loaded.task
    if not isinstance(task, Classification | Retrieval):
        return None
    return [str(value) for value in class_values(view, task.label)]
