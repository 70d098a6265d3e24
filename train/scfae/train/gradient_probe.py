"""The gradients of task and auxiliary losses that meet at each modality, for one batch.

They are taken at what an encoder of the modality gets: the parameters of its encoder, adapter or
linear map, whichever the run trains, else the features that enter the fusion method. Both are of
one forward pass in single precision, with the run's own loss weights.

A probe leaves a training as it was: generators, buffers and gradients are what they were before.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from scfae.fusion import Fusion, fusion_info
from scfae.store import Batch

from .checkpoint import restore_rng, rng_state
from .config import RunConfig
from .model import apply_model, fusion_of, weighted_losses
from .recipe import loss_weights
from .tasks import Encode, Task

ALL: Final = "all"
"""All modalities' gradients laid side by side."""
FEATURES: Final = "features"
_TRAINED: Final = ("encoder", "adapter", "map")
"""What may stand before the fusion method, in groups of modules by modality (`encoders`, …)."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """How two gradients meet at one place, in one batch.

    Attributes:
        at: `encoder`, `adapter`, `map` (their parameters), `features`, or `both` of a mixture.
        task_norm: Norm of the task's gradient.
        auxiliary_norm: Norm of the weighted auxiliary losses' gradient.
        cosine: Of the two; None where one is zero.
    """

    at: str
    task_norm: float
    auxiliary_norm: float
    cosine: float | None

    @classmethod
    def of(cls, task: Tensor, auxiliary: Tensor, at: str = FEATURES) -> "Meeting":
        """Return how two flat gradients of equal length meet."""
        norms = float(task.norm()), float(auxiliary.norm())
        size = norms[0] * norms[1]
        return cls(at, *norms, float(task @ auxiliary) / size if size > 0 else None)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


class GradientProbe:
    """Takes both gradients of batches at each modality.

    Args:
        model: By `build_model`; it is put into training mode.
        task: What is asked.
        encode: From a batch to the task's targets.
        config: The run's settings.

    Attributes:
        places: Where each modality's gradients are taken, and those of all.
    """

    def __init__(self, model: nn.Module, task: Task, encode: Encode, config: RunConfig) -> None:
        self._model, self._task, self._encode = model, task, encode
        self._weights = loss_weights(fusion_info(config.model.fusion), config.model.loss_weights)
        self._fusion = fusion_of(model)
        self._modalities = tuple(config.data.columns)
        self._parameters: dict[str, list[nn.Parameter]] = {}
        self.places: dict[str, str] = {}
        for modality in self._modalities:
            kind, parameters = _trained_before(model, self._fusion, modality)
            self.places[modality] = kind
            if parameters:
                self._parameters[modality] = parameters
        mixed = set(self.places.values())
        self.places[ALL] = mixed.pop() if len(mixed) == 1 else "both"

    def meetings(self, batch: Batch) -> dict[str, Meeting]:
        """Return how the gradients of a batch meet at each modality, and all of them side by side.

        The batch is on the model's device.
        """
        with _untouched(self._model):
            pairs = self._pairs(batch)
        return {name: Meeting.of(*pair, at=self.places[name]) for name, pair in pairs.items()}

    def _pairs(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        self._model.train()
        targets = self._encode(batch, batch.present)
        handle, leaves = _tap(self._fusion)
        try:
            output = apply_model(
                self._model,
                batch.features,
                batch.present,
                batch.lengths,
                labels=self._task.method_labels(targets),
                groups=batch.groups,
            )
        finally:
            handle.remove()
        wanted: dict[str, Sequence[Tensor]] = {
            modality: self._parameters.get(modality, [leaves[modality]])
            for modality in self._modalities
        }
        task = self._task.loss(output, targets, batch.present)
        others = list(weighted_losses(output.losses, self._weights).values())
        auxiliary = torch.stack(others).sum() if others else None
        first, second = (flat_gradients(loss, wanted) for loss in (task, auxiliary))
        pairs = {modality: (first[modality], second[modality]) for modality in wanted}
        whole = [torch.cat([one[modality] for modality in wanted]) for one in (first, second)]
        return {**pairs, ALL: (whole[0], whole[1])}


def flat_gradients(
    loss: Tensor | None, wanted: Mapping[str, Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Return a loss's gradient at each modality, flat; zeros where it does not reach."""
    inputs = list({id(x): x for some in wanted.values() for x in some if x.requires_grad}.values())
    found: dict[int, Tensor] = {}
    if loss is not None and loss.requires_grad and inputs:
        gradients = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        found = {
            id(x): gradient
            for x, gradient in zip(inputs, gradients, strict=True)
            if gradient is not None
        }
    parts = {
        modality: [found[id(x)] if id(x) in found else torch.zeros_like(x) for x in some]
        for modality, some in wanted.items()
    }
    return {m: torch.cat([x.detach().flatten().float() for x in some]) for m, some in parts.items()}


def _trained_before(
    model: nn.Module, fusion: Fusion, modality: str
) -> tuple[str, list[nn.Parameter]]:
    """Return what of a modality is trained before the fusion method, and its parameters."""
    inside = {id(module) for module in fusion.modules()}
    groups = {
        name.rpartition(".")[2]: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleDict) and id(module) not in inside
    }
    for kind in _TRAINED:
        group = groups.get(f"{kind}s")
        if group is not None and modality in group:
            parameters = [p for p in group[modality].parameters() if p.requires_grad]
            if parameters:
                return kind, parameters
    return FEATURES, []


def _tap(fusion: Fusion) -> tuple[RemovableHandle, dict[str, Tensor]]:
    """Return the features that the next call of a method reads, able to take gradients."""
    leaves: dict[str, Tensor] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        features: Mapping[str, Tensor] = inputs[0]
        for modality, rows in features.items():
            # Behind a map or an encoder the graph goes on to its parameters.
            leaves[modality] = rows if rows.requires_grad else rows.detach().requires_grad_()
        return (dict(leaves), *inputs[1:])

    return fusion.register_forward_pre_hook(hook), leaves


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put generators and buffers (running means) back to where they were."""
    generators = rng_state()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        restore_rng(generators)
