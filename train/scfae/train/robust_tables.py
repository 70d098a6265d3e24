"""What a page shows of an evaluation's robustness and calibration."""

from collections.abc import Mapping
from typing import Any, Final

from .figures import plain_figures, title

_CAPTIONS: Final = {
    "missing_rates": "Each modality missing at random from a share of the samples, by masks that "
    "are stored in the run",
    "noise": "Noise of so many standard deviations of each feature",
    "offsets_s": "One modality late against the others, by seconds",
}


def robustness_tables(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a table of each kind of damage that was measured."""
    names = evaluation["metrics"]
    return [
        {
            "caption": _CAPTIONS[kind],
            "metrics": [title(name) for name in names],
            "rows": [
                {
                    "name": f"{what} {amount}",
                    "figures": plain_figures(figures, names),
                    "n": figures["n"],
                }
                for what, by_amount in by_what.items()
                for amount, figures in by_amount.items()
            ],
        }
        for kind, by_what in evaluation["robustness"].items()
    ]


def calibration_sentence(evaluation: Mapping[str, Any]) -> str | None:
    """Return how far probabilities are what they say; None for a task without."""
    found = evaluation["calibration"]
    if found is None:
        return None
    errors = list(found["conditions"].values())[-1]
    return (
        f"Expected calibration error with all that is there: {errors['ece']:.3f}; "
        f"{errors['ece_scaled']:.3f} after dividing the logits by {found['temperature']:.2f}, the "
        "temperature of the validation split."
    )
