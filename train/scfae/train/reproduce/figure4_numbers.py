"""Figure 4 in numbers: a method's figures over seeds, and where SCFAE differs beyond noise.

Differences are paired by seed: the same seed starts from the same weights and sees the same batches
whatever the losses are.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..analysis.drawing import known_cosines, norms_of
from ..seeds import OverSeeds, interval_of_mean
from .costs import CostRow

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "cosine": (-1.0, 1.0),
    "negative_share": (0.0, 1.0),
    "norm_first": (0.0, float("inf")),
    "norm_last": (0.0, float("inf")),
    "norm_ratio": (0.0, float("inf")),
    "cka_shared": (0.0, 1.0),
    "cka_own": (0.0, 1.0),
}
"""What each figure can be. Student's t knows nothing of that, and of few seeds reaches past it."""
HEADS: Final = (
    "A: cosine",
    "A: below 0",
    "B: first",
    "B: last",
    "B: last / first",
    "C: shared",
    "C: own",
)
HEADS_NOTE: Final = (
    "A: mean cosine, and the share of steps below 0. B: mean norm in the first and in the last "
    "tenth of the sampled steps. C: linear CKA of the modalities' shared parts, and of each one's "
    "specific with its own shared part."
)
COMPARED: Final[Mapping[str, str]] = {
    "cosine": "A, the mean cosine of task and auxiliary gradient",
    "norm_ratio": "B, the norm of the task's gradient in the last tenth of steps over the first",
}


Line = dict[str, Any]
Shared = tuple[float | None, float | None]
"""Linear CKA of the modalities' shared parts, and of each one's specific with its shared part."""


def row_of(
    name: str,
    cosines: Sequence[Sequence[Line]],
    norms: Sequence[Sequence[Line]],
    shared: Sequence[Shared],
    note: str = "",
) -> CostRow:
    """Return a method's figures over seeds, as text and as numbers.

    Args:
        name: Of the method.
        cosines: Of each seed, the sampled steps of panel A.
        norms: The same of panel B.
        shared: Of each seed, panel C.
        note: Why something is not there.
    """
    by_seed = [known_cosines(lines) for lines in cosines]
    ends = [_ends(norms_of(lines)[1]) for lines in norms]
    figures: dict[str, list[float | None]] = {
        "cosine": [OverSeeds.of(some).mean for some in by_seed],
        "negative_share": [OverSeeds.of(one < 0 for one in some).mean for some in by_seed],
        "norm_first": [first for first, _ in ends],
        "norm_last": [last for _, last in ends],
        "norm_ratio": [last / first if first else None for first, last in ends],
        "cka_shared": [both for both, _ in shared],
        "cka_own": [own for _, own in shared],
    }
    texts: list[str] = []
    values: dict[str, Any] = {"note": note}
    for figure, each in figures.items():
        over = OverSeeds.of(each)
        interval = bounded_interval(figure, each)
        ends95 = None if interval is None else list(interval)
        values[figure] = {**over.as_dict(), "ci95": ends95, "each": each}
        ends_text = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
        texts.append(over.text() + ends_text)
    every = [value for one in by_seed for value in one]
    quarters = statistics.quantiles(every, n=4) if len(every) > 1 else None
    values["cosine"]["middle_half"] = None if quarters is None else [quarters[0], quarters[2]]
    return CostRow(name, (), tuple(texts), values)


def _ends(norms: Sequence[float]) -> tuple[float, float]:
    """Return the mean norm of the first and of the last tenth of the sampled steps."""
    count = max(1, len(norms) // 10)
    return statistics.fmean(norms[:count]), statistics.fmean(norms[-count:])


def bounded_interval(name: str, values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return the 95 % interval of a figure's mean over seeds, within what the figure can be."""
    found = interval_of_mean([one for one in values if one is not None])
    if found is None:
        return None
    least, most = BOUNDS[name]
    return max(least, found[0]), min(most, found[1])


def conclusion(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where SCFAE is above or below other methods beyond noise; empty for nothing.

    Args:
        rows: By method, SCFAE first, its figures with the values of `each` seed.
    """
    (ours, *others) = rows
    sentences = []
    for figure, text in COMPARED.items():
        told: dict[str, list[str]] = {"above": [], "below": [], "not to be told from": []}
        for other in others:
            both = zip(rows[ours][figure]["each"], rows[other][figure]["each"], strict=False)
            gaps = [a - b for a, b in both if a is not None and b is not None]
            ends, mean = interval_of_mean(gaps), OverSeeds.of(gaps).mean
            if ends is None or mean is None:
                continue
            outcome = "above" if ends[0] > 0 else "below" if ends[1] < 0 else "not to be told from"
            told[outcome].append(f"{other} ({mean:+.3f}, {ends[0]:+.3f} to {ends[1]:+.3f})")
        known = [f"{outcome} {', '.join(some)}" for outcome, some in told.items() if some]
        if known:
            sentences.append(f"By {text}, {ours} is {'; '.join(known)}.")
    if not sentences:
        return ""
    return f"{' '.join(sentences)} Differences are paired by seed, with their 95 % intervals."
