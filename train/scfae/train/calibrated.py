"""The temperature that a run's evaluation found on the validation split, where it did."""

from .runs import RunFolder


def run_temperature(run: RunFolder) -> float | None:
    """Return what logits are divided by for calibrated probabilities, None if that is not known.

    Args:
        run: The run; its `evaluation.json` may hold `{"calibration": {"temperature": T}}`.

    Raises:
        RunStateError: If `evaluation.json` is damaged.
    """
    if not (run.path / "evaluation.json").is_file():
        return None
    found = run.read("evaluation.json").get("calibration")
    value = found.get("temperature") if isinstance(found, dict) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
        return None
    return float(value)
