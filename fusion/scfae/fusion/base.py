"""What fusion methods share: checked inputs, pooling, an optional head, one output type."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from .heads import make_head
from .output import FusionOutput
from .pooling import make_poolings
from .presence import Inputs, prepare


class Fusion(nn.Module, ABC):
    """A fusion method over named modalities.

    A subclass calls `super().__init__`, builds its layers, calls `self.add_head(output_dim)` and
    implements `fuse`.

    Args:
        dims: Width of each modality; the order of the dict is the order of `present`.
        num_outputs: Outputs of the head; None builds no head.
        pooling: How `[B, T, D]` becomes `[B, D]`: `mean` or `attention`.
        head: `linear` or `mlp`.
        check_finite: Refuse NaN and infinity in what is present.

    Attributes:
        modalities: The names, in order.
        output_dim: Width of `fused`.
        input_rms: Root mean square of input features at which a new model learns well.
    """

    input_rms: ClassVar[float] = 1.0

    output_dim: int

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
        if not dims:
            raise ValueError("dims: at least one modality is needed")
        for name, width in dims.items():
            if not isinstance(width, int) or width < 1:
                raise ValueError(f"dims[{name!r}]: must be a positive integer, not {width!r}")
            if not name or "." in name:
                raise ValueError(f"dims: {name!r} cannot name a modality (empty, or with a dot)")
        if num_outputs is not None and num_outputs < 1:
            raise ValueError(f"num_outputs: must be at least 1 or None, not {num_outputs}")
        self.dims = dict(dims)
        self.modalities = tuple(dims)
        self.num_outputs = num_outputs
        self.check_finite = check_finite
        self._head_kind = head
        self.poolings = make_poolings(pooling, self.dims)
        self.head: nn.Module | None = None

    def add_head(self, output_dim: int) -> None:
        """Set the width of `fused` and, where outputs are wanted, build the head on it."""
        self.output_dim = output_dim
        if self.num_outputs is not None:
            self.head = make_head(self._head_kind, output_dim, self.num_outputs)

    @abstractmethod
    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return the output without logits."""

    def forward(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
    ) -> FusionOutput:
        """Fuse a batch.

        Args:
            features: For each modality `[B, D_m]`, or `[B, T, D_m]`.
            present: bool `[B, M]`; None is all present.
            lengths: For each `[B, T, D_m]` modality int `[B]`.

        Raises:
            ValueError: If names, shapes or values do not fit; the message names the tensor.
            TypeError: If a mask is not bool or lengths are not integers.
        """
        inputs = prepare(features, present, lengths, dims=self.dims, check_finite=self.check_finite)
        output = self.fuse(inputs)
        if self.head is None:
            return output
        return FusionOutput(
            fused=output.fused,
            z=output.z,
            specific=output.specific,
            shared=output.shared,
            shared_from=output.shared_from,
            recon=output.recon,
            losses=output.losses,
            logits=self.head(output.fused),
        )

    def pooled(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return each modality as one vector a sample, `[B, D_m]`; zero where absent."""
        return {
            name: self.poolings[name](inputs.features[name], inputs.valid[name])
            for name in self.modalities
        }
