"""What an analysis is of: the selected checkpoint, and the data as they were.

Aspects that were looked at in several calls stand in one document only while they are of the same
checkpoint and of the same data; of anything else they go, with their files, and that is said.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from scfae.store.config import digest

from ..loading import LoadedRun
from ..runs import RunFolder
from ..splits import Splits

Aspect = Literal["gradients", "parts", "branches", "contributions"]
ASPECTS: Final[tuple[Aspect, ...]] = get_args(Aspect)
KEYS: Final[Mapping[Aspect, tuple[str, ...]]] = {
    "gradients": ("gradients",),
    "parts": ("sharing", "probes", "projection"),
    "branches": ("branches",),
    "contributions": ("contributions",),
}
"""Where a document has each aspect."""
FILES: Final[Mapping[Aspect, tuple[str, ...]]] = {
    "gradients": (),  # gradients.csv is of training, which no checkpoint changes
    "parts": ("sharing.csv", "probes.csv", "projection.csv", "parts.png", "parts.pdf"),
    "branches": (),
    "contributions": ("contributions.csv", "contributions.png", "contributions.pdf"),
}
"""What a folder has of each aspect beside the document."""


def basis_of(loaded: LoadedRun, splits: Splits) -> dict[str, Any]:
    """Return what an analysis of a run is of now, as plain JSON values.

    Args:
        loaded: The run with the weights of its selected epoch.
        splits: Its samples, as the store has them now.
    """
    views = {role: view.fingerprint for role, view in splits.roles.items()}
    return {
        "epoch": loaded.epoch,
        "checkpoint_sha256": loaded.run.best_sha256,
        "data_sha256": digest(views),
    }


def joined(
    document: dict[str, Any], earlier: Mapping[str, Any] | None
) -> tuple[dict[str, Any], tuple[Aspect, ...]]:
    """Return a document with the aspects of an earlier one that it does not have itself.

    Args:
        document: Of `Analysis.as_dict`.
        earlier: The one that is kept, None if there is none.

    Returns:
        The document, and the aspects of the earlier one that could not stay, since they are of
        another checkpoint or of other data.
    """
    if earlier is None:
        return document, ()
    splits, left_out = earlier.get("splits", {}), earlier["left_out"]
    there = [
        name
        for name in ASPECTS
        if name in left_out or name in splits or any(earlier[key] for key in KEYS[name])
    ]
    missing = [name for name in there if name not in {*document["splits"], *document["left_out"]}]
    if earlier.get("of") != document["of"]:
        return document, tuple(name for name in missing if name not in left_out)
    whole = {**document, "splits": dict(document["splits"]), "left_out": {**document["left_out"]}}
    for name in missing:
        if name in left_out:
            whole["left_out"][name] = left_out[name]
            continue
        whole |= {key: earlier[key] for key in KEYS[name]}
        whole["splits"][name] = splits[name]
    return whole, ()


def outdated(run: RunFolder, document: Mapping[str, Any]) -> str | None:
    """Return that a kept analysis is of another checkpoint than is selected now; None if not."""
    of = document.get("of")
    if of is None or not run.best.is_file() or of["checkpoint_sha256"] == run.best_sha256:
        return None
    return (
        f"This is of the model of epoch {of['epoch']}, and another was selected since: "
        "scfae analyse says it of that one."
    )


def remove_files(folder: Path, aspects: tuple[Aspect, ...]) -> None:
    """Remove what a folder has of aspects that could not stay."""
    for name in aspects:
        for file in FILES[name]:
            (folder / file).unlink(missing_ok=True)
