"""What a run's model says of one sample, from its rows: with all it has, and with less.

Where the run's evaluation found a temperature on the validation split, logits are divided by it, so
that probabilities are calibrated.

Shapes: T rows, D features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scfae.store.branches import branches_of, modalities_of

from .calibrated import run_temperature
from .loading import LoadedRun
from .model import apply_model
from .tasks.task import subsets

Rows = npt.NDArray[np.float32]
MOST_MODALITIES = 6
"""Of a sample with more, sets of modalities are too many to ask for each."""


@dataclass(frozen=True, slots=True)
class SampleRows:
    """One sample as a model sees it.

    Attributes:
        label: What its answer begins with.
        rows: For each branch that it has, `[T, D]`, T > 0.
        absent: For each branch that it has not, why.
        error: Why it cannot be asked at all.
    """

    label: Mapping[str, Any]
    rows: dict[str, Rows] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    def only(self, modalities: Sequence[str] | None) -> "SampleRows":
        """Return the sample with some modalities alone; all for None."""
        if modalities is None:
            return self
        kept = branches_of(modalities, [*self.rows, *self.absent])
        return replace(
            self,
            rows={branch: rows for branch, rows in self.rows.items() if branch in kept},
            absent={branch: why for branch, why in self.absent.items() if branch in kept},
        )


def line(loaded: LoadedRun, sample: SampleRows, device: str) -> dict[str, Any]:
    """Return what is said of a sample as a plain JSON object, or `error` in it.

    Args:
        loaded: The run.
        sample: Its rows.
        device: Where the model is.
    """
    if sample.error is not None:
        return {**sample.label, "error": sample.error}
    if not sample.rows:
        return {**sample.label, "error": "; ".join(sorted(set(sample.absent.values())))}
    temperature = run_temperature(loaded.run)
    shown = [branch for branch in loaded.columns if branch in sample.rows]
    return {
        **sample.label,
        **_answer(loaded, sample.rows, shown, temperature, device),
        **({} if temperature is None else {"temperature": temperature}),
        "present": shown,
        "absent": dict(sample.absent),
    }


def subset_answers(loaded: LoadedRun, sample: SampleRows, device: str) -> dict[str, dict[str, Any]]:
    """Return what is said of a sample under every set of the modalities that it has.

    Args:
        loaded: The run.
        sample: Its rows.
        device: Where the model is.

    Returns:
        By the modalities joined by +, in the run's order, small sets first; empty for a sample of
        more than `MOST_MODALITIES`.
    """
    has = [branch for branch in loaded.columns if branch in sample.rows]
    modalities = modalities_of(has)
    if len(modalities) > MOST_MODALITIES:
        return {}
    temperature = run_temperature(loaded.run)
    return {
        "+".join(named): _answer(loaded, sample.rows, branches_of(named, has), temperature, device)
        for named in subsets(modalities)
    }


@torch.no_grad()
def _answer(
    loaded: LoadedRun,
    rows: Mapping[str, Rows],
    shown: Sequence[str],
    temperature: float | None,
    device: str,
) -> dict[str, Any]:
    features, lengths = {}, {}
    for branch, info in loaded.columns.items():
        mine = rows[branch] if branch in shown else np.zeros((1, info.dim), dtype=np.float32)
        features[branch] = torch.from_numpy(mine)[None].to(device)
        lengths[branch] = torch.tensor([len(mine) if branch in shown else 0], device=device)
    here = torch.tensor([[branch in shown for branch in loaded.columns]], device=device)
    output = apply_model(loaded.model, features, here, lengths)
    if temperature is not None and output.logits is not None:
        output = replace(output, logits=output.logits / temperature)
    return loaded.task.predict(output, list(shown))
