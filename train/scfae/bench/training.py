"""The trainer beside a bare loop on tensors in memory, and SCFAE's step beside the machine's limit.

*Trainer*: `scfae train` as a user runs it, from a store that the page cache holds, shuffled and
masked, with everything it does in a step; its own clock (`speed` in events.jsonl) tells how long
steps take and how much of that they wait for data. *Bare loop*: the same model, optimizer, losses
and clipping over the same batches, which lie in memory, and nothing else. The two run in turn, and
the best epoch of each counts.

The limit is the best rate of one large matrix product, measured in the same rounds. A step's share
of it counts the operations of all its products, forward and backward; what an optimizer does to the
weights is in the time and not in the operations.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scfae.fusion import SCFAE, combined_backward
from scfae.store import FeatureStore, FeatureStream
from scfae.store.testing import make_store
from scfae.train import RunConfig, load_config, train
from scfae.train.model import apply_model, build_model, weighted_losses
from scfae.train.optimizer import make_optimizer
from scfae.train.seeding import seed_everything
from scfae.train.standardise import Standardised

from .machine import machine
from .tables import Target, promises, table, with_outcomes

DIMS: Final = {"audio": 512, "video": 512}
BATCH_SIZE: Final = 512
CLASSES: Final = 10
PRODUCT_SIZE: Final = 2048
GROWTH_BATCH: Final = 64
GROWTH: Final[Mapping[str, tuple[tuple[int, dict[str, int], int], ...]]] = {
    "modalities": tuple((m, {f"m{i}": 256 for i in range(m)}, 1) for m in (2, 3, 4)),
    "features": tuple((d, {"audio": d, "video": d}, 1) for d in (128, 256, 512, 1024)),
    "time steps": tuple((t, {"audio": 256, "video": 256}, t) for t in (1, 4, 16)),
}
"""For each thing that grows: its value, the widths, and the time steps."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What a step of SCFAE costs as one thing grows, the others held.

    Attributes:
        what: Which thing.
        value: How much of it.
        step_ms: Forward and backward of 64 samples.
        ratio: As a multiple of the least of it.
    """

    what: str
    value: int
    step_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What one run measured.

    Attributes:
        machine: Where.
        threads: Of a matrix product.
        samples: In the training split.
        rounds: Of how many epochs, at least, the best counts.
        step_ms: A step of the trainer.
        bare_step_ms: A step of the bare loop.
        product_gflops: The machine's limit, in 10^9 operations a second.
        growth: Cost as M, D, T and N grow.
        targets: All promises.
    """

    machine: str
    threads: int
    samples: int
    rounds: int
    step_ms: float
    bare_step_ms: float
    product_gflops: float
    growth: tuple[Growth, ...]
    targets: tuple[Target, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return with_outcomes(asdict(self), self.targets)

    def to_text(self) -> str:
        """Return the promises and the table of growth as text."""
        widths = " / ".join(map(str, DIMS.values()))
        head = [
            self.machine,
            f"{self.threads} threads, float32, {self.samples} samples, SCFAE on {widths}, batch "
            f"{BATCH_SIZE}, best of {self.rounds} epochs",
            f"a step of the trainer {self.step_ms:.0f} ms, of the bare loop "
            f"{self.bare_step_ms:.0f} ms; a matrix product {self.product_gflops:.0f} GFLOP/s",
            "",
        ]
        rows = [
            (one.what, str(one.value), f"{one.step_ms:.1f}", f"{one.ratio:.2f}")
            for one in self.growth
        ]
        columns = ("what grows", "to", "step ms", "x the least")
        return "\n".join([*head, *promises(self.targets), "", *table(columns, rows)])


def measure(
    samples: int,
    rounds: int,
    *,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainingResult:
    """Measure on the CPU.

    Args:
        samples: In the training split; at least one batch of 512.
        rounds: Epochs of the trainer and of the bare loop, after one that warms up.
        folder: Where to write the stores; by default the system's folder for temporaries.
        say: Is told what is being done.
    """
    with tempfile.TemporaryDirectory(prefix="scfae-bench-", dir=folder) as temporary:
        place = Path(temporary)
        say("writing a store")
        store = _store(place / "store", samples)
        say("the bare loop on tensors in memory")
        bare = _Bare(_config(store, place / "bare", rounds))
        bare_s = bare.best_step_s(rounds + 1)
        say("the trainer")
        speeds = _speeds(_config(store, place / "run", rounds + 1))
        say("the bare loop again, and matrix products")
        bare_s = min(bare_s, bare.best_step_s(rounds))
        product_flops = max(_product_flops() for _ in range(rounds + 1))
        step_s = min(one["seconds"] / one["steps"] for one in speeds)
        waiting = sum(one["waiting_s"] for one in speeds) / sum(one["seconds"] for one in speeds)
        say("what a step costs as things grow")
        growth = [*_growth(rounds), *_more_samples(place, samples, rounds, step_s)]
    widths = " / ".join(map(str, DIMS.values()))
    targets = (
        Target("waiting for data / step time", None, 0.02, waiting),
        Target("bare loop on tensors in memory / trainer", 0.95, None, bare_s / step_s),
        Target(
            f"operations of a step / the machine's limit, {widths}, batch {BATCH_SIZE}",
            0.85,
            None,
            bare.flops / step_s / product_flops,
        ),
    )
    return TrainingResult(
        machine=machine(),
        threads=torch.get_num_threads(),
        samples=samples,
        rounds=rounds,
        step_ms=step_s * 1e3,
        bare_step_ms=bare_s * 1e3,
        product_gflops=product_flops / 1e9,
        growth=tuple(growth),
        targets=targets,
    )


def _store(path: Path, samples: int) -> FeatureStore:
    val = BATCH_SIZE // 2
    return make_store(
        path,
        num_samples=samples + val,
        dims=DIMS,
        max_rows=1,
        shard_size=256,
        labels={"label": CLASSES},
        splits=(("train", samples / (samples + val)), ("val", val / (samples + val))),
    )


def _config(store: FeatureStore, run: Path, epochs: int) -> RunConfig:
    settings = {
        "store": str(store.path),
        "columns": {m: m for m in DIMS},
        "label": "label",
        "masking": "bernoulli:0.3",
        "batch_size": BATCH_SIZE,
        "epochs": epochs,
        "clip_norm": 1.0,
        "device": "cpu",
        "checkpoint_every_s": None,
        "run": str(run),
    }
    return load_config(None, settings)


def _speeds(config: RunConfig) -> list[dict[str, float]]:
    """Return the trainer's own clock for each epoch but the first."""
    events = train(config).events()
    return [event["speed"] for event in events if event["type"] == "epoch"][1:]


class _Bare:
    """The loop that is left when batches lie in memory and nobody watches."""

    def __init__(self, config: RunConfig) -> None:
        store = FeatureStore.open(config.data.store)
        columns: dict[str, Any] = dict(config.data.columns)
        view = store.view("train", ["label"], **columns)
        seed_everything(config.loop.seed)
        self.model = build_model(config, view.dims, CLASSES)
        if isinstance(self.model, Standardised):
            self.model.fit_view(view)
        stream = FeatureStream(view, BATCH_SIZE, seed=1, masking=config.loop.masking, prefetch=0)
        self.batches = [
            (
                {m: x.clone() for m, x in batch.features.items()},
                batch.present.clone(),
                {m: n.clone() for m, n in batch.lengths.items()},
                batch.labels["label"].clone(),
            )
            for batch in stream
        ]
        self.learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(config.optim, self.learning, "cpu")
        with FlopCounterMode(display=False) as counter:
            self._step(*self.batches[0])
        self.flops: int = counter.get_total_flops()

    def best_step_s(self, epochs: int) -> float:
        """Return the seconds of a step in the best of some epochs."""
        self.model.train()
        best = math.inf
        for _ in range(epochs):
            start = time.perf_counter()
            for batch in self.batches:
                self._step(*batch)
            best = min(best, (time.perf_counter() - start) / len(self.batches))
        return best

    def _step(
        self,
        features: dict[str, Tensor],
        present: Tensor,
        lengths: dict[str, Tensor],
        labels: Tensor,
    ) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        output = apply_model(self.model, features, present, lengths, labels=labels)
        assert output.logits is not None
        losses = [F.cross_entropy(output.logits, labels)]
        losses += weighted_losses(output.losses, {}).values()
        combined_backward(losses, self.learning)
        nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()


def _product_flops() -> float:
    """Return the operations a second of one large matrix product."""
    a, b = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE) for _ in range(2))
    start = time.perf_counter()
    a @ b
    return float(2 * PRODUCT_SIZE**3 / (time.perf_counter() - start))


def _growth(rounds: int) -> list[Growth]:
    found = []
    for what, cases in GROWTH.items():
        steps_s = [_step_s(dims, num_steps, rounds) for _, dims, num_steps in cases]
        found += [
            Growth(what, value, step_s * 1e3, step_s / steps_s[0])
            for (value, _, _), step_s in zip(cases, steps_s, strict=True)
        ]
    return found


def _step_s(dims: dict[str, int], num_steps: int, rounds: int) -> float:
    model = SCFAE(dims, num_outputs=CLASSES)
    shapes = {m: (GROWTH_BATCH, num_steps, d) for m, d in dims.items()}
    features = {m: torch.randn(*shape) for m, shape in shapes.items()}
    labels = torch.arange(GROWTH_BATCH) % CLASSES
    best = math.inf
    for number in range(rounds + 1):
        start = time.perf_counter()
        model.zero_grad()
        output = model(features)
        loss = F.cross_entropy(output.logits, labels)
        torch.autograd.backward(loss + sum(output.losses.values(), loss.new_zeros(())))
        if number:
            best = min(best, time.perf_counter() - start)
    return best


def _more_samples(place: Path, samples: int, rounds: int, step_s: float) -> list[Growth]:
    """Return the trainer's step on the store and on one of four times the samples."""
    more = 4 * samples
    speeds = _speeds(_config(_store(place / "more", more), place / "more-run", rounds + 1))
    large_s = min(one["seconds"] / one["steps"] for one in speeds)
    return [
        Growth(f"samples, batch {BATCH_SIZE}", value, s * 1e3, s / step_s)
        for value, s in ((samples, step_s), (more, large_s))
    ]
