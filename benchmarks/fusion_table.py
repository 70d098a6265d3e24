"""One table of every fusion method on three real feature sets, with views missing at several rates.

    python -m benchmarks.fusion_table [--store DEMO/features] [--seeds 1 2 3 4 5] [--methods scfae
        concat ...] [--sets multiple-features ...] [--epochs 20] [--json]

Every method gets the same samples, masks (fixed by set, rate and seed), standardisation, optimizer
settings and number of epochs, its own loss weights, stages and combiner, and its default size but
where `OPTIONS` says otherwise. Views are missing in training as at test. The epoch with the best
accuracy on validation is tested, once; test labels choose nothing. Beside the methods: the majority
class of the training labels, and the mean of one logistic regression a view over the views present
(once trained on what the methods see, once on complete samples).

Results are kept one line each in `benchmarks/results/fusion_table.jsonl`; what is there is not run
again, so that a full table can be made in several sittings. `fusion_table.md` and `.json` are made
from it. A method that cannot take a set's number of views, or fails, has a line that says so.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.fusion_sets import (
    FeatureSet,
    basic_motions,
    digits_seen_and_heard,
    multiple_features,
)
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from scfae.fusion import (
    FusionInfo,
    build_fusion,
    combined_backward,
    count_parameters,
    list_fusions,
)
from scfae.train.config import OptimConfig
from scfae.train.device import seed_everything
from scfae.train.model import weighted_losses
from scfae.train.optimizer import make_optimizer
from scfae.train.recipe import loss_weights
from scfae.train.schedule import Schedule
from scfae.train.stages import Stages
from scfae.train.standardise import Standardised

RESULTS = Path(__file__).parent / "results"
OPTIONS: dict[str, dict[str, Any]] = {
    "imder": {"sampling_steps": 10, "num_refiner_blocks": 4, "num_layers": 1},
    "dicmor": {"num_flow_steps": 8, "num_refiner_blocks": 4, "num_layers": 1},
}
"""Smaller than published, so that a step on two cores takes under a second."""

CLIP_NORM = 1.0
BASELINES = ("majority", "mean of views", "mean of views, trained without gaps")
Batch = tuple[dict[str, Tensor], Tensor, dict[str, Tensor], Tensor]


def batches(data: FeatureSet, present: Tensor, rows: Tensor, size: int) -> Iterator[Batch]:
    """Yield features, presence, lengths and labels of the samples `rows`."""
    for begin in range(0, len(rows), size):
        some = rows[begin : begin + size]
        lengths = {m: n[some] for m, n in data.lengths.items()}
        features = {m: x[some] for m, x in data.features.items()}
        yield features, present[some], lengths, data.labels[some]


@torch.no_grad()
def evaluate(
    model: nn.Module, data: FeatureSet, present: Tensor, rows: Tensor
) -> tuple[float, float]:
    """Return accuracy and cross-entropy."""
    model.eval()
    logits = torch.cat([model(x, p, n).logits for x, p, n, _ in batches(data, present, rows, 128)])
    labels = data.labels[rows]
    loss = nn.functional.cross_entropy(logits, labels).item()
    return (logits.argmax(dim=1) == labels).double().mean().item(), loss


def train_and_test(
    info: FusionInfo, data: FeatureSet, rate: float, seed: int, epochs: int
) -> dict[str, Any]:
    """Return the test accuracy of the epoch that validation selects, with sizes and times."""
    optim = OptimConfig(epochs=epochs, batch_size=data.batch_size, clip_norm=CLIP_NORM)
    seed_everything(seed)
    present = data.present(rate, seed)
    parts = {name: torch.from_numpy(rows) for name, rows in data.split(seed).items()}
    fusion = build_fusion(info.name, data.dims, data.num_classes, **OPTIONS.get(info.name, {}))
    model = Standardised(fusion, data.dims, rms=fusion.input_rms)
    model.fit((x, p, n) for x, p, n, _ in batches(data, present, parts["train"], 256))
    steps_per_epoch = math.ceil(len(parts["train"]) / optim.batch_size)
    stages = Stages.plan(
        info.recipe.stage_epochs, epochs=epochs, steps_per_epoch=steps_per_epoch, fusion=info.name
    )
    weights = loss_weights(info, {})
    generator = torch.Generator().manual_seed(seed)
    times: list[float] = []
    best, best_state, step = (-1.0, 0.0), dict(model.state_dict()), 0
    parameters = 0
    for epoch in range(epochs):
        stage = stages.at(step)
        if epoch == 0 or stage != fusion.stage:
            fusion.begin_stage(stage)
            learning = [p for p in model.parameters() if p.requires_grad]
            parameters = max(parameters, count_parameters(fusion))
            optimizer = make_optimizer(optim, learning, "cpu")
            schedule = Schedule(
                optim.lr, optim.lr_start, optim.lr_end, optim.warmup, stages.steps(stage)
            )
            best = (-1.0, 0.0)  # an earlier stage's model is not whole yet
        model.train()
        order = parts["train"][torch.randperm(len(parts["train"]), generator=generator)]
        for x, p, n, y in batches(data, present, order, optim.batch_size):
            begin = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = schedule(step - stages.begin(stage))
            optimizer.zero_grad(set_to_none=True)
            out = model(x, p, n, labels=y)
            losses = [nn.functional.cross_entropy(out.logits.float(), y)]
            losses += weighted_losses(out.losses, weights).values()
            combined_backward(losses, learning, info.recipe.combiner)
            nn.utils.clip_grad_norm_(learning, CLIP_NORM)
            optimizer.step()
            step += 1
            times.append(time.perf_counter() - begin)
        accuracy, loss = evaluate(model, data, present, parts["val"])
        if (accuracy, -loss) > best:
            best = (accuracy, -loss)
            best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best_state)
    return {
        "accuracy": evaluate(model, data, present, parts["test"])[0],
        "val_accuracy": best[0],
        "parameters": parameters,
        "step_ms": 1000 * statistics.median(times),
        "load": os.getloadavg()[0],
    }


def vectors(rows: Tensor, lengths: Tensor) -> np.ndarray[Any, Any]:
    """Return the mean over rows, and their deviation where there are several, `[N, D or 2 D]`."""
    valid = (torch.arange(rows.shape[1]) < lengths[:, None])[:, :, None]
    count = valid.sum(dim=1).clamp(min=1)
    mean = (rows * valid).sum(dim=1) / count
    if rows.shape[1] == 1:
        return mean.numpy()
    square = ((rows - mean[:, None]).square() * valid).sum(dim=1) / count
    return torch.cat([mean, square.sqrt()], dim=1).numpy()


def mean_of_views(
    data: FeatureSet, rate: float, seed: int, *, complete: bool = False
) -> dict[str, Any]:
    """Return the accuracy of the mean of each view's own logistic regression.

    It selects nothing, and so learns from the validation samples too.

    Args:
        data: The set.
        rate: Share of views that are missing.
        seed: Of masks and split.
        complete: Nothing is missing in training: more than the methods get to see.
    """
    present = data.present(rate, seed).numpy()
    there = data.present(0.0, seed).numpy() if complete else present
    parts = data.split(seed)
    train, test = np.concatenate([parts["train"], parts["val"]]), parts["test"]
    labels = data.labels.numpy()
    total = np.zeros((len(test), data.num_classes))
    parameters = 0
    for i, (name, rows) in enumerate(data.features.items()):
        x = vectors(rows, data.lengths[name])
        seen = train[there[train, i]]
        if len(set(labels[seen])) < data.num_classes:
            continue  # too few to learn every class from
        scaler = StandardScaler().fit(x[seen])
        model = LogisticRegression(max_iter=2000).fit(scaler.transform(x[seen]), labels[seen])
        total += model.predict_proba(scaler.transform(x[test])) * present[test, i, None]
        parameters += model.coef_.size + model.intercept_.size
    accuracy = float((total.argmax(axis=1) == labels[test]).mean())
    return {"accuracy": accuracy, "parameters": parameters}


def majority(data: FeatureSet, seed: int) -> dict[str, Any]:
    """Return the accuracy of always answering the most frequent class of training."""
    parts, labels = data.split(seed), data.labels.numpy()
    answer = np.bincount(labels[parts["train"]]).argmax()
    return {"accuracy": float((labels[parts["test"]] == answer).mean()), "parameters": 0}


def measure(name: str, data: FeatureSet, rate: float, seed: int, epochs: int) -> dict[str, Any]:
    """Return one line: what was measured, or why not."""
    if name == BASELINES[0]:
        return majority(data, seed)
    if name in BASELINES:
        return mean_of_views(data, rate, seed, complete=name == BASELINES[2])
    info = next(x for x in list_fusions() if x.name == name)
    try:
        info.check_modalities(len(data.dims))
    except ValueError as error:
        return {"skipped": str(error)}
    try:
        return train_and_test(info, data, rate, seed, epochs)
    except (ValueError, RuntimeError) as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def cells(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean, sd, seeds, step time and size by `method`, then by `set @ rate`."""
    table: dict[str, Any] = {}
    for name in dict.fromkeys(line["method"] for line in lines):
        for key in dict.fromkeys((x["set"], x["rate"]) for x in lines if x["method"] == name):
            mine = [x for x in lines if x["method"] == name and (x["set"], x["rate"]) == key]
            good = [x for x in mine if "accuracy" in x]
            cell: dict[str, Any] = {"seeds": sorted(x["seed"] for x in good)}
            if good:
                values = [x["accuracy"] for x in good]
                cell["mean"] = statistics.mean(values)
                cell["sd"] = statistics.stdev(values) if len(values) > 1 else None
                cell["parameters"] = good[0]["parameters"]
                if "step_ms" in good[0]:
                    cell["step_ms"] = statistics.median(x["step_ms"] for x in good)
                    cell["load"] = max(x["load"] for x in good)
            else:
                cell["why"] = mine[0].get("skipped") or mine[0].get("failed")
            table.setdefault(name, {})[f"{key[0]} @ {key[1]:.0%}"] = cell
    return table


def markdown(table: dict[str, Any], setting: dict[str, Any]) -> str:
    """Return the table for reading, and who passes the logistic regressions."""
    columns = sorted({key for row in table.values() for key in row})
    head = ["method", *columns, "ms a step", "parameters"]
    lines = [
        "# Fusion methods on three feature sets",
        "",
        "Test accuracy in %, mean ± standard deviation over seeds; `set @ share of views missing`, "
        "in training as at test. Made by `python -m benchmarks.fusion_table`; how, its docstring "
        "says. Times and sizes are those of the first column that was measured.",
        "",
        f"Setting: {json.dumps(setting)}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for name, row in table.items():
        shown = [_shown(row.get(column)) for column in columns]
        measured = [cell for cell in row.values() if "mean" in cell]
        time_ms = next((f"{c['step_ms']:.0f}" for c in measured if "step_ms" in c), "-")
        size = next((f"{c['parameters']:,}" for c in measured), "-")
        lines.append("| " + " | ".join([name, *shown, time_ms, size]) + " |")
    lines.append("")
    load = max(
        (c["load"] for row in table.values() for c in row.values() if "load" in c), default=0
    )
    if load > (os.cpu_count() or 1):
        lines += [
            f"The machine was busy with other work (load {load:.0f}): times are no measurements.",
            "",
        ]
    for column in columns:
        bar = table.get(BASELINES[1], {}).get(column, {}).get("mean")
        if bar is None:
            continue
        means = {
            n: row[column]["mean"] for n, row in table.items() if "mean" in row.get(column, {})
        }
        above = [n for n, mean in means.items() if mean > bar]
        lines.append(
            f"- {column}: above the mean of views ({100 * bar:.1f}): {', '.join(above) or 'none'}."
        )
    return "\n".join(lines) + "\n"


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    if "mean" not in cell:
        return "-"
    deviation = "" if cell["sd"] is None else f" ± {100 * cell['sd']:.1f}"
    return f"{100 * cell['mean']:.1f}{deviation} ({len(cell['seeds'])})"


def main() -> None:
    """Measure what is not there yet, then write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="the demo's feature store")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--methods", nargs="+", help="all, if not given")
    parser.add_argument("--sets", nargs="+", help="all, if not given; the demo's needs --store")
    parser.add_argument("--rates", type=float, nargs="+", help="those of each set, if not given")
    parser.add_argument("--epochs", type=int, help="those of each set, if not given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="gcnet: no groups")
    sets = [multiple_features(), basic_motions()]
    if args.store is not None:
        sets.append(digits_seen_and_heard(args.store))
    names = args.methods or [*BASELINES, *(info.name for info in list_fusions())]
    path = args.results / "fusion_table.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
    done = {(x["method"], x["set"], x["rate"], x["seed"], x["epochs"]) for x in lines}
    # One seed of everything first: a sitting that ends early has every row.
    for seed in args.seeds:
        for data in sets:
            if args.sets and data.name not in args.sets:
                continue
            for rate in args.rates or data.rates:
                for name in names:
                    key = (name, data.name, rate, seed, args.epochs or data.epochs)
                    if key in done:
                        continue
                    found = measure(name, data, rate, seed, key[-1])
                    line = dict(zip(("method", "set", "rate", "seed", "epochs"), key, strict=True))
                    lines.append(line | {"options": OPTIONS.get(name, {})} | found)
                    with path.open("a") as log:
                        log.write(json.dumps(lines[-1]) + "\n")
                    print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
    epochs = {data.name: args.epochs or data.epochs for data in sets}
    kept = [x for x in lines if epochs.get(x["set"], x["epochs"]) == x["epochs"]]
    setting = {
        "optim": OptimConfig(clip_norm=CLIP_NORM).model_dump(exclude={"epochs", "batch_size"}),
        "epochs and batch size": {x.name: [epochs[x.name], x.batch_size] for x in sets},
        "torch": torch.__version__,
    }
    table = cells(kept)
    (args.results / "fusion_table.md").write_text(markdown(table, setting))
    document = json.dumps({"setting": setting, "table": table}, indent=1)
    (args.results / "fusion_table.json").write_text(document + "\n")
    print(document if args.json else markdown(table, setting))


if __name__ == "__main__":
    main()
