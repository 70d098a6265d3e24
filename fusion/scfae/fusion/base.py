"""What fusion methods share: checked inputs, pooling, an optional head, one output type."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from .heads import make_head
from .output import FusionOutput
from .pooling import make_poolings
from .presence import Inputs, prepare


class Fusion(nn.Module, ABC):
    """A fusion method over named modalities.

    A subclass calls `super().__init__`, builds its layers, calls `self.add_head(output_dim)` and
    implements `fuse`. One that computes logits in its own way sets `output_dim` and returns them.

    A method that learns to imagine what is missing never sees what is absent: in training it hides
    some of what is present, by its own draw from torch's generator, and knows the truth of that.
    What a method draws in evaluation (a sampler's noise) is fixed and the same for every sample.

    Args:
        dims: Width of each modality; the order of the dict is the order of `present`.
        num_outputs: Outputs of the head; None builds no head.
        pooling: How `[B, T, D]` becomes `[B, D]`: one of `POOLINGS`.
        head: `linear` or `mlp`.
        check_finite: Refuse NaN and infinity in what is present.

    Attributes:
        modalities: The names, in order.
        output_dim: Width of `fused`.
        input_rms: Root mean square of input features at which a new model learns well.
        num_stages: Stages of training; `begin_stage` goes from one to the next.
        stage: The stage it is in, part of its state.
        settles: Whether `settle` chooses something.
    """

    input_rms: ClassVar[float] = 1.0
    num_stages: ClassVar[int] = 1
    settles: ClassVar[bool] = False

    output_dim: int
    stage_index: Tensor

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        check_finite: bool = True,
    ) -> None:
        super().__init__()
        check_dims(dims)
        if num_outputs is not None and (not _is_whole(num_outputs) or num_outputs < 1):
            raise ValueError(
                f"num_outputs: must be an integer, at least 1, or None, not {num_outputs!r}"
            )
        self.dims = dict(dims)
        self.modalities = tuple(dims)
        self.num_outputs = num_outputs
        self.check_finite = check_finite
        self._head_kind = head
        self.stage = 0
        if self.num_stages > 1:
            self.register_buffer("stage_index", torch.zeros((), dtype=torch.int64))
            self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]
                lambda module, _: module.begin_stage(int(module.stage_index))
            )
        self.poolings = make_poolings(pooling, self.dims)
        self.head: nn.Module | None = None

    def add_head(self, output_dim: int) -> None:
        """Set the width of `fused` and, where outputs are wanted, build the head on it."""
        self.output_dim = output_dim
        if self.num_outputs is not None:
            self.head = make_head(self._head_kind, output_dim, self.num_outputs)

    def begin_stage(self, stage: int) -> None:
        """Begin a stage of training: which parameters learn, and which losses there are.

        A subclass of several stages extends it; parameters that rest have `requires_grad` False.

        Raises:
            ValueError: If there is no such stage.
        """
        if not 0 <= stage < self.num_stages:
            raise ValueError(f"stage: must be from 0 to {self.num_stages - 1}, not {stage}")
        self.stage = stage
        if self.num_stages > 1:
            self.stage_index.fill_(stage)

    def settle(self, answers: Callable[[], Sequence[FusionOutput]]) -> None:
        """Choose, by answers to samples without labels, what a method chooses when it has learned.

        It is called each time that the weights are about to be judged. Most methods choose nothing.

        Args:
            answers: Returns what the model, in evaluation and without gradient, says of batches of
                samples, always the same, with what is chosen as it is at the call.
        """

    @abstractmethod
    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return the output without logits."""

    def forward(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
        *,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> FusionOutput:
        """Fuse a batch.

        Args:
            features: For each modality `[B, D_m]`, or `[B, T, D_m]`.
            present: bool `[B, M]`; None is all present.
            lengths: For each `[B, T, D_m]` modality int `[B]`.
            labels: For losses that need them: int `[B]` classes, float `[B]` values, or float
                `[B, C]` of several labels. Without them these losses are left out.
            groups: int `[B]`, equal for samples of one dialogue, which come in its order; None:
                every sample is a dialogue of its own.

        Raises:
            ValueError: If names, shapes or values do not fit; the message names the tensor.
            TypeError: If a mask is not bool, lengths are not integers, features are not of the
                weights' type or something is no tensor.
        """
        inputs = prepare(
            features,
            present,
            lengths,
            dims=self.dims,
            labels=labels,
            groups=groups,
            check_finite=self.check_finite,
        )
        self._check_types(inputs)
        output = self.fuse(inputs)
        if self.head is None or output.logits is not None:
            return output
        return replace(output, logits=self.head(output.fused))

    def pooled(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return each modality as one vector a sample, `[B, D_m]`; zero where absent."""
        return {
            name: self.poolings[name](inputs.features[name], inputs.valid[name])
            for name in self.modalities
        }

    def _check_types(self, inputs: Inputs) -> None:
        """Refuse features that are not of the weights' type, and labels that are no outputs."""
        weight, labels = next(self.parameters(), None), inputs.labels
        for name, rows in inputs.features.items():
            kind = rows.device.type  # `meta` knows no autocast, and asking is an error there
            is_cast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
            if weight is not None and not is_cast and rows.dtype != weight.dtype:
                raise TypeError(
                    f"features[{name!r}]: are {rows.dtype}, the model's weights {weight.dtype}"
                )
        if labels is None or self.num_outputs is None:
            return
        if labels.is_floating_point():
            if labels.ndim > 1 and labels.shape[1:] != (self.num_outputs,):
                raise ValueError(
                    f"labels: must be [{len(labels)}, {self.num_outputs}], not {list(labels.shape)}"
                )
            return
        if labels.ndim != 1:
            raise ValueError(f"labels: classes must be [{len(labels)}], not {list(labels.shape)}")
        is_checked = self.check_finite and not torch.compiler.is_compiling()
        if is_checked and bool(((labels < 0) | (labels >= self.num_outputs)).any()):
            raise ValueError(
                f"labels: must be classes from 0 to num_outputs - 1 = {self.num_outputs - 1}"
            )


def check_dims(dims: Mapping[str, int]) -> None:
    """Check names and widths of modalities.

    Raises:
        ValueError: If there are none, or a name or width is none.
        TypeError: If they are no mapping, or a name is no str.
    """
    if dims is not None and not isinstance(dims, Mapping):
        raise TypeError(
            f"dims: must map each modality to its width, not be a {type(dims).__name__}"
        )
    if not dims:
        raise ValueError("dims: at least one modality is needed")
    for name, width in dims.items():
        if not _is_whole(width) or width < 1:
            raise ValueError(f"dims[{name!r}]: must be a positive integer, not {width!r}")
        if not isinstance(name, str):
            raise TypeError(f"dims: a modality's name must be a str, not {name!r}")
        if not name or "." in name:
            raise ValueError(f"dims: {name!r} cannot name a modality (empty, or with a dot)")


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
