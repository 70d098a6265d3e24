"""The model of a config: one of scfae.fusion's, with a head for the task."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scfae.fusion import Fusion, FusionOutput, build_fusion, fusion_info
from scfae.store.errors import ConfigError, TaskError

from .adapted import Adapted
from .config import RunConfig
from .joint import Joint, encoded_dims, make_encoders
from .mapped import Mapped, mapped_dims
from .standardise import Standardised

_TRIAL_SIZE = 4


def build_model(config: RunConfig, dims: Mapping[str, int], num_outputs: int | None) -> nn.Module:
    """Return an untrained model, on the CPU.

    Args:
        config: Names the fusion model and its options.
        dims: Width of each modality's rows, in the run's order.
        num_outputs: Width of the head; None builds none.

    Raises:
        ConfigError: An option is unknown or not allowed.
    """
    model = config.model
    options = dict(model.options)
    encoders = make_encoders(model.encoders, dims)
    outer = encoded_dims(dims, encoders)
    try:
        # A method without the option takes the mean, so only another pooling is refused there.
        if model.pooling != "mean" or "pooling" in fusion_info(model.fusion).options:
            options["pooling"] = model.pooling
        inner = mapped_dims(outer, model.linear_maps)
        fusion = build_fusion(model.fusion, dims=inner, num_outputs=num_outputs, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"fusion = {model.fusion!r} cannot be built with pooling = {model.pooling!r} and "
            f"options = {model.options!r}: {error}"
        ) from error
    built: nn.Module = Mapped(fusion, outer, model.linear_maps) if model.linear_maps else fusion
    if model.adapters:
        built = Adapted(built, outer)
    rms = fusion.input_rms if model.input_rms == "auto" else model.input_rms
    stored = {m: dim for m, dim in dims.items() if m not in encoders}
    if model.standardise and stored:
        built = Standardised(built, stored, rms=rms)
    if encoders:
        built = Joint(built, encoders, dims, rms=rms if model.standardise else None)
    return built


_WRAPPERS = (Joint, Standardised, Adapted, Mapped)


def fusion_of(model: nn.Module) -> Fusion:
    """Return the fusion method inside a model."""
    inner = model
    while isinstance(inner, _WRAPPERS):
        inner = inner.model
    assert isinstance(inner, Fusion)
    return inner


def standardised_in(model: nn.Module) -> Standardised | None:
    """Return what standardises a model's stored features, to be fitted; None where nothing does."""
    return next((one for one in model.modules() if isinstance(one, Standardised)), None)


def rows_before_fusion(
    model: nn.Module,
    features: Mapping[str, Tensor],
    present: Tensor,
    lengths: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return what a trained encoder says, or an adapter, of each modality that has one.

    Args:
        model: By `build_model`.
        features: For each modality `[B, T, D]`.
        present: bool `[B, M]`.
        lengths: For each modality int `[B]`.

    Returns:
        Rows `[B, T, d]`: of encoders as they give them, of adapters behind standardisation.
    """
    inner, rows = model, dict(features)
    if isinstance(inner, Joint):
        encoded = inner.encoded(rows, present, lengths)
        return {m: encoded[m] for m in inner.encoders}
    if isinstance(inner, Standardised):
        rows, inner = inner.normalise(rows), inner.model
    return inner.adapted(rows) if isinstance(inner, Adapted) else {}


def check_loss_weights(model: nn.Module, config: RunConfig) -> None:
    """Check that every weighted loss is one that the model has, in any stage of training.

    Args:
        model: A model that will not be used again.
        config: Has the weights.

    Raises:
        ConfigError: Names the weights without a loss, and the model's losses; or the method
            cannot take the task's labels.
    """
    fusion = fusion_of(model).train()
    labels = torch.arange(_TRIAL_SIZE) % 2  # some losses compare samples of a class
    if config.data.task == "regression":
        labels = labels.float()  # with the one output that values have
    losses: dict[str, None] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        features = {m: torch.randn(_TRIAL_SIZE, dim) for m, dim in fusion.dims.items()}
        for stage in range(fusion.num_stages):
            fusion.begin_stage(stage)
            # As one dialogue: a method that wants dialogues does not complain here.
            groups = torch.zeros(_TRIAL_SIZE, dtype=torch.int64)
            try:
                output = fusion(features, labels=labels, groups=groups)
            except ValueError as error:  # a method that compares classes, given values
                raise ConfigError(
                    f"fusion = {config.model.fusion!r} cannot learn from a {config.data.task}: "
                    f"{error}."
                ) from None
            losses |= dict.fromkeys(output.losses)
    unknown = [name for name in config.model.loss_weights if name not in losses]
    if unknown:
        raise ConfigError(
            f"loss_weights: {config.model.fusion} has no loss {', '.join(unknown)}; "
            f"its losses are: {', '.join(losses) or 'none'}."
        )


def apply_model(
    model: nn.Module,
    features: Mapping[str, Tensor],
    present: Tensor,
    lengths: Mapping[str, Tensor],
    *,
    labels: Tensor | None = None,
    groups: Tensor | None = None,
) -> FusionOutput:
    """Return what a model says of a batch of stored rows.

    Args:
        model: By `build_model`.
        features: For each modality `[B, T, D]`.
        present: bool `[B, M]`.
        lengths: For each modality int `[B]`.
        labels: Targets `[B]` or `[B, C]`, in training: some losses need them.
        groups: The dialogue of each sample `[B]`, where batches hold whole dialogues.

    Raises:
        TaskError: The rows do not fit the model, such as time steps that it cannot pair.
    """
    try:
        output: FusionOutput = model(features, present, lengths, labels=labels, groups=groups)
    except ValueError as error:
        raise TaskError(f"the model cannot take the store's rows: {error}.") from error
    return output


def weighted_losses(
    losses: Mapping[str, Tensor], weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """Return every auxiliary loss times its weight; one without a weight counts as it is.

    Args:
        losses: Scalars by name, as the model gives them.
        weights: Weights by name.
    """
    return {name: loss * weights.get(name, 1.0) for name, loss in losses.items()}
