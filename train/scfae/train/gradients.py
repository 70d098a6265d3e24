"""How the task's gradient and the auxiliary losses' meet at each modality of a trained run.

The two are of the same training batches with the run's own masks and loss weights; where they are
taken is said in `gradient_probe`. A cosine below 0 says that the auxiliary losses push against the
task there. A method without auxiliary losses has no cosines.

`all` is of all modalities' gradients laid side by side. Figures are kept in the run folder as
`gradients.json`. How they were through training is in `gradient_log`, for runs that kept it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch

from scfae.extract.device import choose_device
from scfae.store import Batch, FeatureStore, FeatureStream, StoreView
from scfae.store.errors import ConfigError

from .config import RunConfig
from .gradient_probe import GradientProbe, Meeting
from .loading import load_run
from .runs import write_json
from .splits import make_splits

GRADIENTS_FILE: Final = "gradients.json"


@dataclass(frozen=True, slots=True)
class GradientFigures:
    """What the gradients at one place are over batches.

    Attributes:
        at: `encoder`, `adapter`, `map` (their parameters), `features`, or `both` where `all` mixes
            them.
        task_norm: Mean norm of the task's gradient.
        auxiliary_norm: Mean norm of the weighted auxiliary losses' gradient.
        cosine: Mean cosine of the two; None where one is zero in every batch.
        cosine_sd: Deviation over batches; None for fewer than two.
        negative_share: Share of batches with a cosine below 0.
        num_batches: Batches with a cosine.
    """

    at: str
    task_norm: float
    auxiliary_norm: float
    cosine: float | None
    cosine_sd: float | None
    negative_share: float | None
    num_batches: int

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


def analyse_gradients(
    run: str | Path, *, num_batches: int = 50, device: str = "cpu"
) -> dict[str, GradientFigures]:
    """Return the gradients' figures at each modality of a run's selected model; keep them.

    Args:
        run: The run folder.
        num_batches: Batches of the training split, from its first epoch on.
        device: Where the model runs.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        ConfigError: If there are no batches.
    """
    if num_batches < 1:
        raise ConfigError(f"batches must be at least 1, not {num_batches}.")
    place = choose_device(device)
    loaded = load_run(run, device=place)
    config = loaded.config
    view = _training_split(config)
    probe = GradientProbe(loaded.model, loaded.task, loaded.task.encoder(view), config)
    batches = _batches(config, view, num_batches)
    meetings = []
    with torch.random.fork_rng(devices=[]):
        for number, batch in enumerate(batches):
            # A probe leaves generators as they were, so each batch gets a seed of its own.
            torch.manual_seed(config.loop.seed + number)
            meetings.append(probe.meetings(batch.to(place)))
    found = figures_of(meetings)
    record = {name: one.as_dict() for name, one in found.items()}
    of = {"epoch": loaded.epoch, "batches": len(batches)}
    write_json(loaded.run.path / GRADIENTS_FILE, {**of, "modalities": record})
    return found


def figures_of(meetings: Sequence[Mapping[str, Meeting]]) -> dict[str, GradientFigures]:
    """Return the figures at each place over batches; {} for none."""
    names = meetings[0] if meetings else ()
    return {name: gradient_figures([one[name] for one in meetings]) for name in names}


def gradient_figures(meetings: Sequence[Meeting]) -> GradientFigures:
    """Return the figures of gradients at one place, one meeting a batch, at least one."""
    cosines = [one.cosine for one in meetings if one.cosine is not None]
    return GradientFigures(
        at=meetings[0].at,
        task_norm=statistics.fmean(one.task_norm for one in meetings),
        auxiliary_norm=statistics.fmean(one.auxiliary_norm for one in meetings),
        cosine=statistics.fmean(cosines) if cosines else None,
        cosine_sd=statistics.stdev(cosines) if len(cosines) > 1 else None,
        negative_share=statistics.fmean(one < 0 for one in cosines) if cosines else None,
        num_batches=len(cosines),
    )


def _training_split(config: RunConfig) -> StoreView:
    store = FeatureStore.open(config.data.store, check=config.loop.check)
    return make_splits(store, config.data).train


def _batches(config: RunConfig, view: StoreView, count: int) -> list[Batch]:
    """Return training batches as the run saw them from its first epoch on."""
    found: list[Batch] = []
    epoch = 0
    while len(found) < count:
        stream = FeatureStream(
            view,
            batch_size=config.optim.batch_size,
            seed=config.loop.seed,
            epoch=epoch,
            masking=config.loop.masking,
            bucketing=config.loop.bucketing,
            balance=config.loop.balance,
            group_batches=config.loop.group_batches,
            crop=config.loop.max_train_rows,
        )
        found += islice(stream, count - len(found))
        epoch += 1
    return found
