"""How a run fares when the test split is worse than it was trained on.

*Missing at random*: at rate r each modality lacks a share r of the samples, every sample keeps one
(the field's random protocol, r from 0 to 0.7). The masks are drawn once, stored in the run folder
as mask tables, and read from there ever after: a figure that depends on a fresh draw cannot be
compared. *Noise*: Gaussian, of so many standard deviations of each feature over the training
split. *Offset*: rows of one modality come so many seconds late (early, if negative) against the
others; at the edge the nearest row stays. Noise of a sample depends on its id and the seed alone.

Shapes: B samples, T rows, D features, N samples of the split.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scfae.store import (
    Batch,
    ColumnInfo,
    FeatureStream,
    StoreView,
    exact_rate_masks,
    masks_for,
    write_mask_table,
)
from scfae.store.branches import any_branch, branches_of, modalities_of
from scfae.store.errors import ConfigError

from .loading import LoadedRun
from .metrics import Metrics
from .scoring import Change, Setting, score_view
from .tasks import Retrieval, Scored
from .validation import mean_metrics

MASK_FOLDER = "masks"
MASK_SEED = 0
NOISE_SEED = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """One way to make a split worse.

    Attributes:
        kind: `missing_rates`, `noise` or `offsets_s`.
        what: The modality that suffers, or `all`.
        amount: Rate, standard deviations, or seconds.
        change: What becomes of a batch.
    """

    kind: str
    what: str
    amount: float
    change: Change


def robustness(
    loaded: LoadedRun,
    view: StoreView,
    train: StoreView,
    *,
    role: str,
    device: str,
    rates: Sequence[float] = (),
    noise: Sequence[float] = (),
    offsets_s: Sequence[float] = (),
) -> dict[str, Any]:
    """Return the metrics of each damage: `{kind: {what: {amount: {metric: value, "n": …}}}}`.

    They are those of the full set of modalities (for retrieval: means over the directions).

    Args:
        loaded: The run.
        view: The split to measure.
        train: The training split, whose features say how large noise of 1 is.
        role: Name of the split, for the stored masks.
        device: Where the model is.
        rates: Missing rates from 0 to 1.
        noise: Standard deviations, at least 0.
        offsets_s: Seconds.

    Raises:
        ConfigError: A number is out of range, or a column has no rate of rows.
    """
    damages = [
        *_missing(loaded, view, role, rates),
        *_noise(view, train, noise),
        *_offsets(view, loaded.columns, offsets_s),
    ]
    found: dict[str, Any] = {}
    trials = loaded.task.validation_trials(view.modalities)
    shown = list(dict.fromkeys(one for trial in trials for one in trial.shown))
    settings = [
        Setting((number, one), one, damage.change)
        for number, damage in enumerate(damages)
        for one in shown
    ]
    if not settings:
        return found
    config = loaded.config
    scored: dict[Any, Scored] = score_view(
        loaded.model,
        loaded.task,
        view,
        settings,
        batch_size=config.optim.batch_size,
        device=device,
        group_batches=config.loop.group_batches,
    )
    for number, damage in enumerate(damages):
        mine = {one: scored[number, one] for one in shown}
        measured = [loaded.task.measure(trial, mine, 0) for trial in trials]
        figures: dict[str, Any] = {**mean_metrics([one.metrics for one in measured])}
        figures["n"] = measured[0].n
        by_what = found.setdefault(damage.kind, {}).setdefault(damage.what, {})
        by_what[f"{damage.amount:g}"] = figures
    return found


def robustness_lines(found: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Yield a table of the figures for a terminal."""
    units = {"missing_rates": "missing", "noise": "noise", "offsets_s": "late by s"}
    for kind, by_what in found.items():
        for what, by_amount in by_what.items():
            for amount, figures in by_amount.items():
                cells = [
                    f"{name} {'undefined' if figures[name] is None else f'{figures[name]:.3f}'}"
                    for name in names
                ]
                yield f"{what} {units[kind]} {amount}: {', '.join(cells)}, n {figures['n']}"


def mean_over_rates(by_amount: Mapping[str, Metrics]) -> Metrics:
    """Return the mean of each metric over the missing rates."""
    return mean_metrics(list(by_amount.values()))


def _missing(
    loaded: LoadedRun, view: StoreView, role: str, rates: Sequence[float]
) -> Iterator[Damage]:
    if rates and isinstance(loaded.task, Retrieval):
        raise ConfigError(
            "missing_rates: retrieval embeds each modality alone, so none can be missing beside it."
        )
    place = {name: i for i, name in enumerate(view.ids.tolist())}
    for rate in rates:
        if not 0 <= rate < 1:
            raise ConfigError(f"missing_rates: must be from 0 to below 1, not {rate}.")
        path = loaded.run.path / MASK_FOLDER / f"{role}-rate-{rate:g}-seed-{MASK_SEED}.parquet"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            modalities = modalities_of(view.modalities)
            there = any_branch(view.available, view.modalities)
            drawn = exact_rate_masks(view.ids, there, rate, seed=MASK_SEED, modalities=modalities)
            write_mask_table(path, view.ids, drawn, modalities)
        kept = masks_for(
            view.ids,
            view.available,
            policy=f"table:{path}",
            seed=MASK_SEED,
            epoch=0,
            modalities=view.modalities,
        )
        yield Damage("missing_rates", "all", rate, _hiding(torch.from_numpy(kept), place))


def _hiding(kept: Tensor, place: Mapping[str, int]) -> Change:
    def change(batch: Batch) -> Batch:
        rows = kept[[place[name] for name in batch.ids]].to(batch.present.device)
        return replace(batch, present=batch.present & rows)

    return change


def _noise(view: StoreView, train: StoreView, amounts: Sequence[float]) -> Iterator[Damage]:
    if any(not 0 <= amount < np.inf for amount in amounts):
        raise ConfigError(f"noise: must be at least 0, not {min(amounts)}.")
    if not amounts:
        return
    deviations = _deviations(train)
    suffer = {m: branches_of([m], view.modalities) for m in modalities_of(view.modalities)}
    for what, names in (suffer | {"all": view.modalities}).items():
        for amount in amounts:
            yield Damage("noise", what, amount, _noising(names, amount, deviations))


def _noising(names: Sequence[str], amount: float, deviations: Mapping[str, Tensor]) -> Change:
    def change(batch: Batch) -> Batch:
        features = dict(batch.features)
        for m in names:
            noise = np.zeros(tuple(features[m].shape), dtype=np.float32)
            for i, (name, length) in enumerate(zip(batch.ids, batch.lengths[m], strict=True)):
                key = [NOISE_SEED, zlib.crc32(m.encode()), zlib.crc32(name.encode())]
                drawn = np.random.default_rng(key).standard_normal((int(length), noise.shape[2]))
                noise[i, : int(length)] = drawn
            moved = torch.from_numpy(noise) * (amount * deviations[m])
            features[m] = features[m] + moved.to(features[m].device)
        return replace(batch, features=features)

    return change


def _deviations(train: StoreView) -> dict[str, Tensor]:
    """Return the standard deviation of each feature over all training rows, `[D]`."""
    count = dict.fromkeys(train.modalities, 0)
    total = {m: torch.zeros(d, dtype=torch.float64) for m, d in train.dims.items()}
    squares = {m: torch.zeros(d, dtype=torch.float64) for m, d in train.dims.items()}
    for batch in FeatureStream(train, batch_size=256, shuffle=False):
        for m, rows in batch.features.items():  # padding and what is absent is 0
            count[m] += int(batch.lengths[m].sum())
            total[m] += rows.double().sum(dim=(0, 1))
            squares[m] += rows.double().square().sum(dim=(0, 1))
    found = {}
    for m, number in count.items():
        mean = total[m] / max(number, 1)
        found[m] = (squares[m] / max(number, 1) - mean**2).clamp(min=0).sqrt().float()
    return found


def _offsets(
    view: StoreView, columns: Mapping[str, ColumnInfo], seconds: Sequence[float]
) -> Iterator[Damage]:
    timed = {
        modality: {
            branch: rate
            for branch in branches_of([modality], view.modalities)
            if (rate := columns[branch].rows_per_second)
        }
        for modality in modalities_of(view.modalities)
    }
    if seconds and not any(timed.values()):
        raise ConfigError(
            "offsets_s: no column of the run says how many rows a second it has, so nothing can be "
            "moved in time."
        )
    for modality, rates in timed.items():
        for amount in seconds:
            if rates:
                change = _shifting({m: round(amount * rate) for m, rate in rates.items()})
                yield Damage("offsets_s", modality, amount, change)


def _shifting(rows_late: Mapping[str, int]) -> Change:
    def change(batch: Batch) -> Batch:
        moved = {m: _shifted(batch, m, rows) for m, rows in rows_late.items()}
        return replace(batch, features={**batch.features, **moved})

    return change


def _shifted(batch: Batch, modality: str, rows: int) -> Tensor:
    """Return the features `[B, T, D]` of a modality, so many rows late."""
    features, lengths = batch.features[modality], batch.lengths[modality]
    steps = torch.arange(features.shape[1], device=features.device)
    last = (lengths - 1).clamp(min=0)[:, None]
    # Late by k: what is heard at step t belongs to step t - k.
    source = torch.minimum((steps[None] - rows).clamp(min=0), last)
    # Padding stays behind the rows that count.
    source = torch.where(steps[None] > last, steps[None], source)
    return features.gather(1, source[:, :, None].expand_as(features))
