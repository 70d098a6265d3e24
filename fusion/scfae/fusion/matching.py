"""Which samples belong together: by class, by pair, or because they are genuine.

Retrieval methods take samples of one class, or only a sample with itself, as partners across
modalities. Forgery methods pull the modalities of genuine samples together and push those of the
others apart.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from torch import Tensor

POSITIVES = ("pair", "class")


def check_positives(positives: str) -> None:
    """Check the name of a rule for partners.

    Raises:
        ValueError: If it is neither `pair` nor `class`.
    """
    if positives not in POSITIVES:
        raise ValueError(f"positives: must be one of {', '.join(POSITIVES)}, not {positives!r}")


def partner_labels(positives: str, labels: Tensor | None) -> Tensor | None:
    """Return the classes by which rows are partners, int `[B]`; None: only a row with itself.

    Args:
        positives: `class` or `pair`.
        labels: The batch's labels, or None.

    Raises:
        ValueError: If classes are asked for and the labels are none.
    """
    if positives == "pair" or labels is None:
        return None
    return class_labels(labels, "positives='pair' does without")


def check_matched_label(matched_label: int | None, num_outputs: int | None) -> None:
    """Check the index of the genuine class: with another no sample would ever be genuine.

    Raises:
        ValueError: If it is below zero, or no output.
        TypeError: If it is no whole number.
    """
    if matched_label is None:
        return
    if isinstance(matched_label, bool) or not isinstance(matched_label, int):
        raise TypeError(f"matched_label: must be a class's index or None, not {matched_label!r}")
    if matched_label < 0 or (num_outputs is not None and matched_label >= num_outputs):
        most = "" if num_outputs is None else f" and below num_outputs = {num_outputs}"
        raise ValueError(f"matched_label: must be at least 0{most}, not {matched_label}")


def matched_samples(labels: Tensor, matched_label: int | None) -> Tensor:
    """Return bool `[B]`: samples whose modalities belong together.

    Args:
        labels: The batch's labels.
        matched_label: Index of the genuine class; None: every sample is.

    Raises:
        ValueError: If a class is asked for and the labels are none.
    """
    if matched_label is None:
        return labels.new_ones(len(labels)).bool()
    return class_labels(labels, "matched_label=None does without") == matched_label


def class_labels(labels: Tensor, instead: str) -> Tensor:
    """Return labels that are classes, int `[B]`.

    Args:
        labels: The batch's labels.
        instead: What the message recommends.

    Raises:
        ValueError: If they are values or several labels.
    """
    if labels.is_floating_point() or labels.ndim != 1:
        raise ValueError(
            f"labels: must be classes, int [B], not {labels.dtype} {list(labels.shape)}; {instead}"
        )
    return labels


def modality_pairs(modalities: Sequence[str], present: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """Yield each pair of modalities, once, with bool `[B]`: the samples that have both.

    Args:
        modalities: The names, in the order of `present`.
        present: bool `[B, M]`.
    """
    for (i, first), (j, second) in combinations(enumerate(modalities), 2):
        yield first, second, present[:, i] & present[:, j]
