"""How the task's gradient and the auxiliary losses' meet at each modality of a trained run.

For each modality the two gradients are taken at what an encoder of it would get: the parameters of
its linear map, where the run trains one, else the features that enter the fusion method (after
standardisation). Both are of the same training batches with the run's own masks and loss weights,
in single precision. A cosine below 0 says that the auxiliary losses push against the task there.

`all` is of all modalities' gradients laid side by side. A method without auxiliary losses has no
cosines. Figures are kept in the run folder as `gradients.json`.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from scfae.fusion import Fusion, fusion_info
from scfae.store import Batch, FeatureStore, FeatureStream, StoreView
from scfae.store.errors import ConfigError

from .config import RunConfig
from .device import choose_device
from .loading import LoadedRun, load_run
from .model import apply_model, fusion_of, weighted_losses
from .recipe import loss_weights
from .runs import write_json
from .splits import make_splits

GRADIENTS_FILE: Final = "gradients.json"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class GradientFigures:
    """What the gradients at one place are over batches.

    Attributes:
        at: `map` (parameters of the linear map), `features`, or `both` where `all` mixes them.
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
    view = _training_split(loaded.config)
    probe = _Probe(loaded, view)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(loaded.config.loop.seed)
        batches = _batches(loaded.config, view, num_batches)
        pairs = [probe.gradients(batch.to(place)) for batch in batches]
    found = {
        name: gradient_figures([pair[name] for pair in pairs], probe.places[name])
        for name in probe.places
    }
    record = {name: one.as_dict() for name, one in found.items()}
    write_json(loaded.run.path / GRADIENTS_FILE, {"batches": len(pairs), "modalities": record})
    return found


def gradient_figures(
    pairs: Sequence[tuple[Tensor, Tensor]], at: str = "features"
) -> GradientFigures:
    """Return the figures of pairs of gradients, task and auxiliary, one pair a batch.

    Args:
        pairs: Of flat tensors of equal length.
        at: Where they are taken.
    """
    cosines = []
    for task, auxiliary in pairs:
        size = float(task.norm() * auxiliary.norm())
        if size > 0:
            cosines.append(float(task @ auxiliary) / size)
    return GradientFigures(
        at=at,
        task_norm=statistics.fmean(float(task.norm()) for task, _ in pairs),
        auxiliary_norm=statistics.fmean(float(auxiliary.norm()) for _, auxiliary in pairs),
        cosine=statistics.fmean(cosines) if cosines else None,
        cosine_sd=statistics.stdev(cosines) if len(cosines) > 1 else None,
        negative_share=statistics.fmean(one < 0 for one in cosines) if cosines else None,
        num_batches=len(cosines),
    )


class _Probe:
    """Takes both gradients of a batch at each modality.

    Args:
        loaded: The run.
        view: Its training split.
    """

    def __init__(self, loaded: LoadedRun, view: StoreView) -> None:
        config = loaded.config
        self._loaded = loaded
        self._weights = loss_weights(fusion_info(config.model.fusion), config.model.loss_weights)
        self._fusion = fusion_of(loaded.model)
        self._encode = loaded.task.encoder(view)
        self._maps: dict[str, nn.Module] = {}
        for name, module in loaded.model.named_modules():
            head, _, modality = name.rpartition(".")
            if head.endswith("maps") and modality in config.model.linear_maps:
                self._maps[modality] = module
        kinds = {m: "map" if m in self._maps else "features" for m in config.data.columns}
        mixed = set(kinds.values())
        self.places = {**kinds, ALL: mixed.pop() if len(mixed) == 1 else "both"}

    def gradients(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Return (task, auxiliary) gradients of a batch, flat, by modality and for all."""
        task = self._loaded.task
        self._loaded.model.train()
        targets = self._encode(batch, batch.present)
        handle, leaves = _tap(self._fusion)
        try:
            output = apply_model(
                self._loaded.model,
                batch.features,
                batch.present,
                batch.lengths,
                labels=task.method_labels(targets),
                groups=batch.groups,
            )
        finally:
            handle.remove()
        wanted = {
            modality: list(self._maps[modality].parameters())
            if modality in self._maps
            else [leaves[modality]]
            for modality in self._loaded.config.data.columns
        }
        first = task.loss(output, targets, batch.present)
        others = list(weighted_losses(output.losses, self._weights).values())
        second = torch.stack(others).sum() if others else None
        both = [flat_gradients(loss, wanted) for loss in (first, second)]
        pairs = {modality: (both[0][modality], both[1][modality]) for modality in wanted}
        whole = [torch.cat([one[modality] for modality in wanted]) for one in both]
        return {**pairs, ALL: (whole[0], whole[1])}


def _tap(fusion: Fusion) -> tuple[RemovableHandle, dict[str, Tensor]]:
    """Return the features that the next call of a method reads, able to take gradients."""
    leaves: dict[str, Tensor] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        features: Mapping[str, Tensor] = inputs[0]
        for modality, rows in features.items():
            # Behind a linear map the graph goes on to its parameters.
            leaves[modality] = rows if rows.requires_grad else rows.detach().requires_grad_()
        return (dict(leaves), *inputs[1:])

    return fusion.register_forward_pre_hook(hook), leaves


def flat_gradients(loss: Tensor | None, wanted: Mapping[str, list[Any]]) -> dict[str, Tensor]:
    """Return a loss's gradient at each modality, flat; zeros where it does not reach."""
    found = {}
    for modality, inputs in wanted.items():
        gradients: Sequence[Tensor | None] = [None] * len(inputs)
        if loss is not None and loss.requires_grad:
            gradients = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        parts = [
            torch.zeros_like(one).flatten() if gradient is None else gradient.flatten()
            for one, gradient in zip(inputs, gradients, strict=True)
        ]
        found[modality] = torch.cat(parts).detach().float()
    return found


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
