"""What a run's model said of each test sample, kept in the run folder for people and comparisons.

`predictions.jsonl` has one line a sample with all it has; `scores.npz` has the scores under every
set of modalities, so that two runs can be compared sample by sample.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scfae.store import StoreView
from scfae.store.atomic import write_atomic
from scfae.store.errors import RunStateError

from .loading import LoadedRun
from .runs import json_line
from .tasks import Retrieval, Scored
from .tasks.labels import class_values

PREDICTIONS_FILE = "predictions.jsonl"
SCORES_FILE = "scores.npz"
FORMAT = 2
"""Of `scores.npz`: 1 had no `format` and no labels of retrieval."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptScores:
    """What `scores.npz` holds.

    Attributes:
        ids: Sample ids `[N]`.
        scored: By the modalities shown.
        labels: Each sample's label as the store spells it `[N]`, where targets are the store's
            codes (retrieval); None for other tasks and in older runs.
    """

    ids: npt.NDArray[np.str_]
    scored: dict[tuple[str, ...], Scored]
    labels: npt.NDArray[np.str_] | None = None


def write_predictions(
    loaded: LoadedRun, view: StoreView, scored: Mapping[tuple[str, ...], Scored]
) -> None:
    """Keep what the model says of every sample with all it has: one JSON line a sample.

    A task without an answer for a single sample (retrieval) keeps none.
    """
    full = scored.get(tuple(view.modalities))
    path = loaded.run.path / PREDICTIONS_FILE
    if full is None:
        path.unlink(missing_ok=True)
        return
    lines = []
    for i in np.flatnonzero(full.seen):
        answer = loaded.task.answer(full.scores[i])
        if "probabilities" in answer:
            answer["probabilities"] = {
                name: round(p, 6) for name, p in answer["probabilities"].items()
            }
        present = [m for m, has in zip(view.modalities, view.available[i], strict=True) if has]
        lines.append(
            json_line(
                {
                    "id": str(view.ids[i]),
                    "label": loaded.task.truth(full.targets[i]),
                    **answer,
                    "present": present,
                }
            )
        )
    write_atomic(path, "".join(lines).encode())


def keep_scores(
    loaded: LoadedRun, view: StoreView, scored: Mapping[tuple[str, ...], Scored]
) -> None:
    """Keep targets and scores of every sample under every set of modalities, as float32."""
    arrays: dict[str, npt.NDArray[Any]] = {"format": np.array(FORMAT), "ids": view.ids}
    if isinstance(loaded.task, Retrieval):
        arrays["labels"] = np.array(class_values(view, loaded.task.label), dtype=np.str_)
    for shown, one in scored.items():
        name = "+".join(shown)
        arrays[f"targets/{name}"] = one.targets
        arrays[f"scores/{name}"] = one.scores.astype(np.float32)
        arrays[f"seen/{name}"] = one.seen
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomic(loaded.run.path / SCORES_FILE, buffer.getvalue())


def read_scores(run: Path) -> KeptScores:
    """Return what `keep_scores` kept.

    Raises:
        RunStateError: The run was not evaluated, or the file is damaged.
    """
    path = run / SCORES_FILE
    if not path.is_file():
        raise RunStateError(f"{run} is not evaluated yet: scfae evaluate {run}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise RunStateError(f"{path} cannot be read: {error}") from None
    written = int(arrays.get("format", np.array(1)))
    if written > FORMAT:
        raise RunStateError(
            f"{path} was written by a newer scfae (format {written}; this one reads {FORMAT}): "
            f"update scfae, or evaluate again: scfae evaluate {run}"
        )
    names = [name.removeprefix("seen/") for name in arrays if name.startswith("seen/")]
    return KeptScores(
        arrays["ids"],
        {
            tuple(name.split("+")): Scored(
                arrays[f"targets/{name}"],
                arrays[f"scores/{name}"].astype(np.float64),
                arrays[f"seen/{name}"],
            )
            for name in names
        },
        arrays.get("labels"),
    )
