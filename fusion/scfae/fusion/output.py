"""What every fusion method returns.

Shapes: B samples, M modalities, l_m width of modality m, l* the smallest width, F fused width.
"""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class FusionOutput:
    """One forward pass of a fusion method.

    Attributes:
        fused: `[B, F]`, what a head reads.
        z: For each modality `[B, *]`, its embedding after fusion; SCFAE: `[B, l_m + l*]`.
        specific: What is each modality's own; SCFAE: `[B, l_m]`, before the output SwiGLU, of the
            last block, which in a stack of them has seen the other modalities too.
        shared: SCFAE: for each slot `[B, l*]`, computed from the next modality (Eq. 4).
        shared_from: What comes from each modality alone, for retrieval; SCFAE: `shared` by the
            modality that it comes from. Empty where a method embeds none alone.
        recon: SCFAE: for each modality `[B, l_m]`, its reconstruction.
        losses: Every auxiliary loss by name, scalar, not yet weighted.
        logits: `[B, num_outputs]`, None for a method built without outputs.
    """

    fused: Tensor
    z: dict[str, Tensor]
    specific: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Tensor] = field(default_factory=dict)
    shared_from: dict[str, Tensor] = field(default_factory=dict)
    recon: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None

    @property
    def shared_parts(self) -> dict[str, Tensor]:
        """What modalities have in common, each by the modality that it comes from.

        A method that names no `shared_from` computes each of `shared` from its own modality.
        """
        return self.shared_from or self.shared

    @property
    def has_parts(self) -> bool:
        """Whether the method parts what is each modality's own from what they share."""
        return bool(self.specific and self.shared_parts)
