"""The demo's last words: what came out, in a table for a terminal."""

from .story import DemoResult

NAMES = ("scfae", "concat", "scfae-swapped")


def summary(result: DemoResult) -> str:
    """Return accuracy by condition and run with 95 % intervals, and where everything is."""
    documents = {name: result.evaluations[name].as_dict() for name in result.evaluations}
    conditions = list(documents["scfae"]["conditions"])
    width = max(map(len, conditions))
    lines = [
        "digit, test split (voices and images not seen in training): accuracy [95 % interval]",
        f"  {'present':<{width}}  " + "".join(f"{name:<24}" for name in NAMES),
    ]
    for condition in conditions:
        cells = []
        for name in NAMES:
            figures = documents[name]["conditions"][condition]
            low, high = figures["accuracy_ci95"]
            cells.append(f"{figures['accuracy']:.3f} [{low:.3f}, {high:.3f}]".ljust(24))
        lines.append(f"  {condition:<{width}}  " + "".join(cells))
    majority = documents["scfae"]["majority"]["accuracy"]
    lines.append(f"  always the majority class of the training split: {majority:.3f}")
    if documents["scfae-swapped"]["is_random"]:
        lines.append("  scfae-swapped reads its video through random weights: noise, a baseline")
    fake = documents["scfae-fake"]
    full = fake["conditions"][list(fake["conditions"])[-1]]
    lines.append(
        f"fake (does the voice say what is written?), all present: "
        f"balanced accuracy {full['balanced_accuracy']:.3f}, ROC-AUC {full['roc_auc']:.3f}; "
        f"always the majority class: balanced accuracy {fake['majority']['balanced_accuracy']:.3f}"
    )
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    lines.append(f"time: {took}; {sum(result.seconds.values()):.0f} s in all")
    lines.append(f"store:  {result.store}")
    lines.append(f"report: {result.report}")
    return "\n".join(lines)
