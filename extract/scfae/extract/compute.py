"""How networks are computed: precision, TF32, memory layout, compiled or not."""

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from scfae.store import ColumnInfo
from scfae.store.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Compute:
    """How networks are computed.

    Attributes:
        precision: Of the forward pass: fp32, or autocast to bf16 or fp16.
        tf32: On CUDA, let float32 convolutions and matrix products round their inputs to TF32.
        channels_last: Keep the weights of convolutions in channels-last order.
        compile: Compile the networks with torch.compile.
    """

    precision: Precision = "fp32"
    tf32: bool = False
    channels_last: bool = False
    compile: bool = False

    @classmethod
    def recorded(cls, info: ColumnInfo) -> Self:
        """Return how a column was computed, as it says itself."""
        return cls(
            precision=info.recipe.get("precision", "fp32"),
            tf32=bool(info.recipe.get("tf32")),
            channels_last=bool(info.compute.get("channels_last")),
            compile=bool(info.compute.get("compile")),
        )

    def check(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If there is no such precision.
        """
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ConfigError(f"--precision must be one of {known}, not {self.precision!r}.")

    def recipe(self, device: str) -> dict[str, Any]:
        """Return what changes rows beyond their last digits, and so is in the fingerprint."""
        recipe: dict[str, Any] = {}
        if self.precision != "fp32":
            recipe["precision"] = self.precision
        if self.tf32 and device == "cuda":
            recipe["tf32"] = True
        return recipe

    def record(self) -> dict[str, Any]:
        """Return what may change the last digits of rows, and so is only recorded."""
        flags = {"channels_last": self.channels_last, "compile": self.compile}
        return {name: True for name, is_on in flags.items() if is_on}
