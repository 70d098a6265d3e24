"""Generated sets with a known structure: evidence that adds up, conflict, unequal widths, sharing.

A sample has views; a view shows factors (`[N, F]`) under a random map, so that no feature of one
view is comparable with the same feature of another. Everything depends on the seed alone.

Shapes: N samples, T time steps, D features, F factors, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

CLASSES = 4
VIEWS = ("a", "b", "c")
EVIDENCE = 1.7
"""How far a view moves its factor of the class, in deviations of the noise there."""


@dataclass(frozen=True, slots=True)
class Views:
    """Samples of several views.

    Attributes:
        features: For each view `[N, T, D]`.
        labels: Class int `[N]`.
        marks: Other integers `[N]` of each sample, by name.
        present: Which samples have a view, bool `[N]`; all have one that is not named.
    """

    features: Mapping[str, Tensor]
    labels: Tensor
    marks: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)


def evidence(seed: int, num: int, widths: Sequence[int]) -> Views:
    """Return samples in which each view has evidence of its own for the class, and loud noise.

    One view alone is right in about two thirds, all three in about nine of ten. Three factors that
    say nothing are the same in every view, five are a view's own. All of a view's factors lie in
    its width whole, however wide it is: so views of unequal widths say equally much.

    Args:
        seed: Of every choice.
        num: Samples.
        widths: Features of each view.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (num,), generator=g)
    common = torch.randn(num, 3, generator=g)
    said = dict.fromkeys(VIEWS[: len(widths)], labels)
    return Views(_shown(said, common, dict(zip(said, widths, strict=True)), g), labels)


def conflict(seed: int, num: int, widths: Sequence[int], share: float = 0.5) -> Views:
    """Return samples of which in a share one view says another class than the others.

    What lies gives itself away by one factor, faintly: trusting each view alike in every sample
    throws that away. `marks["conflict"]` says which samples these are.

    Args:
        seed: Of every choice.
        num: Samples.
        widths: Features of each view.
        share: Of samples in conflict.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (num,), generator=g)
    is_conflict = torch.rand(num, generator=g) < share
    liar = torch.randint(0, len(widths), (num,), generator=g)
    other = (labels + torch.randint(1, CLASSES, (num,), generator=g)) % CLASSES
    said, tells = {}, {}
    for place, view in enumerate(VIEWS[: len(widths)]):
        lies = is_conflict & (liar == place)
        said[view] = torch.where(lies, other, labels)
        tells[view] = 3.0 * lies[:, None].float() + torch.randn(num, 1, generator=g)
    common = torch.randn(num, 3, generator=g)
    features = _shown(said, common, dict(zip(said, widths, strict=True)), g, tells)
    return Views(features, labels, {"conflict": is_conflict.long()})


def shared(seed: int, num: int, width: int = 16) -> Views:
    """Return two views that share two faint factors, which tell the class; their own are loud."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(num, 2, generator=g)
    labels = (common[:, 0] > 0).long() + 2 * (common[:, 1] > 0).long()
    features = {}
    for view in ("a", "b"):
        own = 2.0 * torch.randn(num, 6, generator=g)
        features[view] = seen(torch.cat([common, own], dim=1), 0.3, g, width)
    return Views(features, labels)


def seen(factors: Tensor, noise: float, generator: torch.Generator, width: int = 16) -> Tensor:
    """Return `[N, T, D]`: factors under a random map, with noise on every feature.

    Args:
        factors: `[N, F]` or `[N, T, F]`.
        noise: Its deviation.
        generator: Of the map and the noise.
        width: Features, D.
    """
    rows = factors if factors.ndim == 3 else factors[:, None]
    turn = torch.randn(rows.shape[2], width, generator=generator) / rows.shape[2] ** 0.5
    noisy: Tensor = rows @ turn
    return noisy + noise * torch.randn(noisy.shape, generator=generator)


def _shown(
    said: Mapping[str, Tensor],
    common: Tensor,
    widths: Mapping[str, int],
    generator: torch.Generator,
    tells: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return each view: what it says, what is common, its own, laid into its width whole."""
    features = {}
    for view, classes in said.items():
        code = EVIDENCE * torch.nn.functional.one_hot(classes, CLASSES).float()
        code = code + torch.randn(code.shape, generator=generator)
        own = 1.5 * torch.randn(len(code), 5, generator=generator)
        factors = torch.cat([code, common, own, *([tells[view]] if tells else [])], dim=1)
        num_factors, width = factors.shape[1], widths[view]
        # Orthonormal rows keep every distance between samples, at any width.
        turn, _ = torch.linalg.qr(torch.randn(width, num_factors, generator=generator))
        features[view] = ((factors @ turn.T) * (width / num_factors) ** 0.5)[:, None]
    return features
