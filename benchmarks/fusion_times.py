"""What a training step of each method of the fusion table takes, one after the other.

    python -m benchmarks.fusion_times [--store DEMO/features] [--methods scfae ...]

The lines of the table are measured in many sittings, beside whatever else the machine does. This
is one sitting, for a machine that does nothing else: two epochs (or one a stage) of each method on
each set with half of the views missing, on one thread; the figure is the median step. Results are
`benchmarks/results/fusion_times.json`, and `fusion_table` shows them in place of its own.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from benchmarks.fusion_sets import basic_motions, digits_seen_and_heard, multiple_features
from benchmarks.fusion_table import RESULTS, options_of
from benchmarks.fusion_training import train
from tqdm import tqdm

from scfae.fusion import list_fusions
from scfae.train.settings import OptimConfig

RATE = 0.5
FILE = "fusion_times.json"


def main() -> None:
    """Measure all methods, and keep the figures beside those of methods that were not asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, help="the demo's feature store")
    parser.add_argument("--methods", nargs="+", help="all, if not given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="gcnet: no groups")
    sets = [multiple_features(), basic_motions()]
    if args.store is not None:
        sets.append(digits_seen_and_heard(args.store))
    path = args.results / FILE
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    infos = [x for x in list_fusions() if args.methods is None or x.name in args.methods]
    for data, info in tqdm([(data, info) for data in sets for info in infos]):
        try:
            info.check_modalities(len(data.dims))
        except ValueError:
            continue  # the table says why
        options = options_of(info.name, data.name)
        epochs = max(2, len(info.recipe.stage_epochs))
        facts = train(info, data, RATE, 1, epochs, options=options, lr=OptimConfig().lr).facts
        line = {"method": info.name, "set": data.name, "options": options}
        found = [x for x in found if any(x[key] != line[key] for key in ("method", "set"))]
        found.append(line | {"step_ms": round(facts["step_ms"], 2), "load": facts["load"]})
        path.write_text("[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n")


if __name__ == "__main__":
    main()
