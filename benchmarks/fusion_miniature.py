"""What each method was made for, in miniature: generated sets, the method beside concat.

    python -m benchmarks.fusion_miniature [--families missing ...] [--methods mmin ...]
        [--seeds 1 2 3] [--results FOLDER]

A family is one task and the methods whose purpose it is (`fusion_tasks.py` makes the tasks):

    missing     trained on complete samples, tested without the view that was the easy one
    dialogue    a sample alone says little; the samples around it, of one mood, say it
    crossing    one stream marks a moment, the other says what happens at it
    mismatch    whether both views are of one identity, or of another that resembles it
    retrieval   the nearest of the other view has the same class
    shared      few labels; what both views share tells the class, louder parts of each do not
    product     the label is the sign of a sum of products over three views

All methods get the same samples, steps and learning rate, small editions of their networks
(`SMALL`), their own loss weights, stages and combiner; nothing is hidden but by a method itself.
Figures are the mean over seeds of test accuracy (mismatch: area under the ROC
curve; retrieval: precision of the nearest) in %.
What `fusion_miniature.json` has of as many seeds is not run again. Why a method passes concat by
two standard errors, or does not, is tested by a change of it (`fusion_reasons.py`).
"""

import argparse
import json
import math
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from benchmarks.fusion_reasons import CHANGES, Change
from benchmarks.fusion_tasks import FAMILIES, MISMATCH, RETRIEVAL, TEST, WITHOUT, Task
from benchmarks.fusion_training import Trained, batches, evaluate, run, train
from sklearn.metrics import roc_auc_score

from scfae.fusion import fusion_info

RESULTS = Path(__file__).parent / "results"
LR, EPOCHS = 2e-3, 24
BY_DISTANCE = ("mds", "vfd", "emo_foren")
Figures = dict[str, dict[str, list[float]]]
"""By family, then by method, one figure a seed."""
SMALL: dict[str, dict[str, Any]] = {
    "align_maskrecon": {"width": 32},
    "avoid_df": {"width": 32, "num_layers": 2, "num_selected": 2},
    "bottleneck": {"width": 32, "num_layers": 4, "fusion_layer": 1},
    "dicmor": {
        "width": 16,
        "num_segments": 4,
        "num_flow_steps": 4,
        "flow_hidden": 32,
        "num_heads": 2,
        "num_layers": 1,
        "num_refiner_blocks": 1,
    },
    "dlf": {"width": 16, "num_heads": 2, "num_layers": 1, "num_last_layers": 1},
    "gcnet": {"width": 32, "graph_width": 16},
    "imder": {
        "width": 16,
        "num_segments": 4,
        "channels": (16, 32),
        "sampling_steps": 10,
        "num_heads": 2,
        "num_layers": 1,
        "num_refiner_blocks": 1,
    },
    "layer_coupled": {"width": 32, "num_layers": 2, "num_states": 8},
    "macb_df": {"width": 32, "num_layers": 2},
    "mamba_ltc_align": {"width": 32, "num_states": 8},
    "mculora": {"width": 32, "num_layers": 2},
    "meter": {"width": 32},
    "misa": {"width": 32, "feed_forward": 64},
    "mmin": {"width": 32, "layers": (24, 16, 8), "num_blocks": 3},
    "momke": {"width": 32, "num_layers": 2},
    "mult": {"num_layers": 2},
    "perceiver": {"width": 32, "num_latents": 8, "depth": 2, "num_heads": 2, "head_width": 16},
    "state_coupled": {"width": 32, "num_layers": 2, "num_states": 8},
    "uavm": {"width": 32, "num_own": 1, "num_shared": 2, "max_steps": 8},
}
"""Editions that train in seconds; every other method has its default size."""


@torch.no_grad()
def precision_of_nearest(trained: Trained, rows: torch.Tensor) -> float:
    """Return how often the nearest of the other view, by cosine, is of the query's class.

    Both directions; a sample's own partner is no candidate. Where a method embeds no view alone,
    its `z` is taken, from one view at a time.
    """
    names = list(trained.data.dims)
    seen = []
    for column, name in enumerate(names):
        alone = torch.zeros_like(trained.present)
        alone[:, column] = True
        found = []
        for batch in batches(trained.data, alone, rows, 128):
            out = run(trained.model, batch)
            found.append((out.shared_from or out.z)[name])
        seen.append(torch.nn.functional.normalize(torch.cat(found), dim=1))
    labels = trained.data.labels[rows]
    scores = (seen[0] @ seen[1].T).fill_diagonal_(-2.0)
    right = [labels[x.argmax(dim=1)] == labels for x in (scores, scores.T)]
    return torch.cat(right).double().mean().item()


@torch.no_grad()
def area_of_forged(trained: Trained, name: str, rows: torch.Tensor) -> float:
    """Return the area under the ROC curve of telling forged samples (1) from genuine ones (0).

    `BY_DISTANCE` are scored as their authors do, by how far a sample's two embeddings are apart;
    others by their head.
    """
    found = []
    for batch in batches(trained.data, trained.present, rows, 128):
        out = run(trained.model, batch)
        if name in BY_DISTANCE:
            first, second = out.z.values()
            found.append((first - second).norm(dim=1))
        else:
            found.append(out.logits[:, 1] - out.logits[:, 0])
    return float(roc_auc_score(trained.data.labels[rows].numpy(), torch.cat(found).numpy()))


@torch.no_grad()
def area_by_entry(trained: Trained, rows: torch.Tensor) -> float:
    """Return the same area, scored by how far the means of a sample's views are as they enter."""
    fusion = trained.model.get_submodule("model")
    entries: dict[str, torch.Tensor] = {}
    hooks = [
        fusion.get_submodule(f"project.{m}").register_forward_hook(
            lambda _, __, out, m=m: entries.update({m: out.mean(dim=1)})
        )
        for m in trained.data.dims
    ]
    found = []
    for batch in batches(trained.data, trained.present, rows, 128):
        run(trained.model, batch)
        first, second = entries.values()
        found.append((first - second).norm(dim=1))
    for hook in hooks:
        hook.remove()
    return float(roc_auc_score(trained.data.labels[rows].numpy(), torch.cat(found).numpy()))


def measure(
    name: str, family: str, data: Task, seed: int, *, change: Change | None = None
) -> float:
    """Return the figure of one method on one family's set, as it is or with a change."""
    change = change or Change("", "")
    if change.data is not None:
        data = change.data(data)
    trained = train(
        fusion_info(name),
        data,
        0.0,
        seed,
        EPOCHS * change.epochs,
        options=SMALL.get(name, {}) | dict(change.options),
        lr=LR,
        hidden=change.hidden,
        own_losses=change.own_losses,
        rebuild=change.rebuild,
    )
    rows = torch.from_numpy(data.split(seed)["test"])
    if family == RETRIEVAL:
        return precision_of_nearest(trained, rows)
    if change.by_distance:
        return area_by_entry(trained, rows)
    if family == MISMATCH:
        return area_of_forged(trained, name, rows)
    return evaluate(trained.model, trained.data, trained.present, rows)[0]


def passes(mine: list[float], concats: list[float]) -> bool:
    """Return whether one mean is above another by two standard errors, of the test's samples."""
    means = [statistics.mean(x) for x in (mine, concats)]
    errors = [m * (1 - m) / (TEST * len(x)) for m, x in zip(means, (mine, concats), strict=True)]
    return means[0] - means[1] > 2 * math.sqrt(sum(errors))


def explains(mine: list[float], concats: list[float], changed: list[float]) -> bool:
    """Return whether a change moved the figure as its reason has it; see `fusion_reasons.py`."""
    return passes(mine, changed) if passes(mine, concats) else passes(changed, mine)


def markdown(found: Figures, changed: Figures) -> str:
    """Return the families' tables for reading."""
    lines = [
        "# Fusion methods on what they were made for, in miniature",
        "",
        "Generated sets, small editions, mean over seeds in %, the number of seeds in brackets. "
        "Made by `python -m benchmarks.fusion_miniature`; how, its docstring says. The reason why "
        "a method passes concat, or does not, is tested by one change of it: `then` is its figure "
        "with the change, `shown` whether that moved by two standard errors as the reason has it.",
        "",
        "| family | method | it | concat | passes | because | the change | then | shown |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for family, methods in found.items():
        concats = methods["concat"]
        for name, mine in methods.items():
            if name == "concat":
                continue
            change, after = CHANGES[family][name], changed.get(family, {}).get(name)
            cells = [family, name, _shown(mine), _shown(concats)]
            cells += ["yes" if passes(mine, concats) else "no", change.reason, change.words]
            cells += ["", "not run"]
            if after:
                cells[-2:] = [_shown(after), "yes" if explains(mine, concats, after) else "no"]
            lines.append("| " + " | ".join(cells) + " |")
    left = [
        f"{name} ({family})"
        for family, (_, methods) in FAMILIES.items()
        for name in methods
        if name not in found.get(family, {})
    ]
    if left:
        lines += ["", f"Not measured yet: {', '.join(left)}."]
    lines += ["", "Made for nothing that these tasks show:", ""]
    lines += [f"- `{name}`: {reason}" for name, reason in WITHOUT.items()]
    return "\n".join(lines) + "\n"


def _shown(values: list[float]) -> str:
    return f"{100 * statistics.mean(values):.1f} ({len(values)})"


def main() -> None:
    """Measure, print each method's line, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", help="all of a family, if not given")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="gcnet: no groups")
    path = args.results / "fusion_miniature.json"
    found: Figures = {}
    changed: Figures = {}
    if path.exists():
        document = json.loads(path.read_text())
        found, changed = document["found"], document["changed"]
    for family in args.families:
        make, methods = FAMILIES[family]
        for name in ("concat", *methods):
            if args.methods and name not in (*args.methods, "concat"):
                continue
            for figures, change in ((found, None), (changed, CHANGES[family].get(name))):
                if change is None and figures is changed:
                    continue
                if len(figures.get(family, {}).get(name, [])) == len(args.seeds):
                    continue
                begin = time.perf_counter()
                mine = [measure(name, family, make(s), s, change=change) for s in args.seeds]
                spent_s = (time.perf_counter() - begin) / len(mine)
                figures.setdefault(family, {})[name] = mine
                words = change.words if change else ""
                print(f"{family:10} {name:18} {_shown(mine):10} {spent_s:4.0f} s  {words}")
                setting = {"lr": LR, "epochs": EPOCHS, "seeds": args.seeds, "small": SMALL}
                document = {"setting": setting, "found": found, "changed": changed}
                path.write_text(json.dumps(document, indent=1) + "\n")
                (args.results / "fusion_miniature.md").write_text(markdown(found, changed))


if __name__ == "__main__":
    main()
