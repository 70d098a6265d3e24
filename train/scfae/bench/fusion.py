"""Fusion methods: SCFAE against its own matrix products, batched branches, and every method's cost.

What an implementation can lose is what it does beside its matrix products. So SCFAE is timed beside
just these: the same shapes, forward, and in a step also the two products of each backward pass. A
step is forward and backward, without an optimizer. All that is compared runs in turn, in one
process, and the best round of each counts.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scfae.fusion import (
    SCFAE,
    Fusion,
    FusionInfo,
    build_fusion,
    count_flops,
    count_parameters,
    list_fusions,
)

from .machine import machine
from .tables import Target, promises, table, with_outcomes

PAPER_DIMS: Final = {"audio": 512, "video": 512}
PAPER_BATCH: Final = 512
SMALL_CASES: Final = (
    ({"audio": 512, "video": 512}, 1),
    ({"audio": 128, "video": 128, "text": 128}, 1),
    ({"audio": 128, "video": 128, "text": 128}, 16),
    ({"audio": 128, "video": 128, "text": 128}, 64),
    ({"audio": 512, "video": 512}, 4),
    ({"audio": 64, "video": 64, "text": 64}, 1),
)
METHOD_BATCH, METHOD_STEPS, METHOD_CLASSES = 32, 8, 4

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class MethodCost:
    """What a method costs, at 32 samples of 8 rows of two modalities, 512 wide, on its defaults.

    Attributes:
        name: Which.
        parameters: That learn.
        mflops: Millions of operations of the matrix products of one sample's forward pass.
        forward_ms: Forward pass, in evaluation.
        step_ms: Forward and backward, in its last stage, with labels.
        ratio: Its step as a multiple of SCFAE's.
    """

    name: str
    parameters: int
    mflops: float
    forward_ms: float
    step_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class FusionResult:
    """What one run measured.

    Attributes:
        machine: Where.
        device: On which device, and with how many threads.
        rounds: Of how many rounds the best counts.
        methods: Every method's cost.
        targets: All promises.
    """

    machine: str
    device: str
    rounds: int
    methods: tuple[MethodCost, ...]
    targets: tuple[Target, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return with_outcomes(asdict(self), self.targets)

    def to_text(self) -> str:
        """Return both tables as text."""
        head = f"{self.machine}\n{self.device}, float32, best of {self.rounds} interleaved rounds\n"
        costs = [
            (
                one.name,
                f"{one.parameters / 1e6:.2f} M",
                f"{one.mflops:.1f}",
                f"{one.forward_ms:.1f}",
                f"{one.step_ms:.1f}",
                f"{one.ratio:.2f}",
            )
            for one in self.methods
        ]
        columns = ("method", "parameters", "MFLOP", "forward ms", "step ms", "x scfae's step")
        setting = (
            f"every method on its defaults: {METHOD_BATCH} samples of {METHOD_STEPS} rows, "
            f"two modalities, 512 wide"
        )
        lines = [head, *promises(self.targets)]
        return "\n".join([*lines, "", setting, *table(columns, costs)] if costs else lines)


def measure(
    rounds: int,
    *,
    device: str = "cpu",
    methods: bool = True,
    batch_size: int = PAPER_BATCH,
    say: Callable[[str], None] = lambda _: None,
) -> FusionResult:
    """Measure on one device.

    Args:
        rounds: How often each is run; the best time counts.
        device: `cpu` or `cuda`.
        methods: Whether every method is measured too.
        batch_size: Samples of SCFAE beside its matrix products.
        say: Is told what is being done.
    """
    place = torch.device(device)
    say("scfae beside its matrix products")
    targets = [*_against_products(place, rounds, batch_size)]
    for dims, rows in SMALL_CASES:
        say(f"batched branches, {_widths(dims)}, batch {rows}")
        targets += _against_loop(place, rounds, dims, rows)
    costs: list[MethodCost] = []
    if methods:
        for info in list_fusions():
            say(info.name)
            costs.append(_cost(info, place, rounds, costs[0].step_ms if costs else None))
    is_cpu = place.type == "cpu"
    name = (
        f"CPU, {torch.get_num_threads()} threads" if is_cpu else torch.cuda.get_device_name(place)
    )
    return FusionResult(
        machine=machine(), device=name, rounds=rounds, methods=tuple(costs), targets=tuple(targets)
    )


def _against_products(place: torch.device, rounds: int, batch_size: int) -> list[Target]:
    model = SCFAE(PAPER_DIMS, batched="never").to(place)
    features = _features(PAPER_DIMS, place, batch_size)
    bare = _Products(model, batch_size)
    works: dict[str, Work] = {
        "forward": partial(_forward, model, features),
        "forward bare": bare.forward,
        "step": partial(_step, model, features),
        "step bare": bare.step,
    }
    best = _best(works, rounds, place)
    where = f"{_widths(PAPER_DIMS)}, batch {batch_size}"
    return [
        Target(
            f"{what}: matrix products / scfae, {where}",
            0.9,
            None,
            best[f"{what} bare"] / best[what],
        )
        for what in ("forward", "step")
    ]


def _against_loop(
    place: torch.device, rounds: int, dims: dict[str, int], rows: int
) -> list[Target]:
    # A single sample is what the batched path is for; with more, `auto` is never to be slower.
    kind, least = ("batched", 1.2) if rows == 1 else ("auto", 0.97)
    loop = SCFAE(dims, batched="never").to(place)
    batched = SCFAE(dims, batched="always" if rows == 1 else "auto").to(place)
    batched.load_state_dict(loop.state_dict())
    features = _features(dims, place, rows)
    works: dict[str, Work] = {
        "loop": partial(_forward, loop, features),
        "batched": partial(_forward, batched, features),
    }
    # These take less than a millisecond: many to a round.
    best = _best({name: partial(_often, work) for name, work in works.items()}, rounds, place)
    what = f"forward: loop / {kind}, {_widths(dims)}, batch {rows}"
    return [Target(what, least, None, best["loop"] / best["batched"])]


class _Products:
    """The matrix products of a model's linear layers, forward and backward, and nothing else."""

    def __init__(self, model: SCFAE, batch_size: int) -> None:
        self.jobs = []
        for name, layer in model.named_modules():
            if not isinstance(layer, nn.Linear):
                continue
            weight, bias = layer.weight.detach(), layer.bias.detach()
            x = torch.randn(batch_size, layer.in_features, device=weight.device)
            grad = torch.randn(batch_size, layer.out_features, device=weight.device)
            is_first = name.startswith("pre.") and not name.endswith(
                ".out"
            )  # features do not learn
            self.jobs.append((x, weight, bias, grad, is_first))

    @torch.no_grad()
    def forward(self) -> None:
        for x, weight, bias, _, _ in self.jobs:
            F.linear(x, weight, bias)

    @torch.no_grad()
    def step(self) -> None:
        for x, weight, bias, grad, is_first in self.jobs:
            F.linear(x, weight, bias)
            grad.T @ x
            if not is_first:
                grad @ weight


def _cost(
    info: FusionInfo, place: torch.device, rounds: int, scfaes_step_ms: float | None
) -> MethodCost:
    dims = dict(PAPER_DIMS)
    for extra in range(info.min_modalities - len(dims)):
        dims[f"more{extra}"] = 512
    model = build_fusion(info.name, dims, num_outputs=METHOD_CLASSES)
    model.begin_stage(model.num_stages - 1)
    model.to(place)
    features = _features(dims, place, METHOD_BATCH, METHOD_STEPS)
    labels = torch.arange(METHOD_BATCH, device=place) % METHOD_CLASSES
    works: dict[str, Work] = {
        "forward": partial(_forward, model, features),
        "step": partial(_step, model, features, labels),
    }
    best = _best(works, rounds, place)
    step_ms = best["step"] * 1e3
    return MethodCost(
        name=info.name,
        parameters=count_parameters(model),
        mflops=count_flops(model, METHOD_STEPS) / 1e6,
        forward_ms=best["forward"] * 1e3,
        step_ms=step_ms,
        ratio=step_ms / (scfaes_step_ms or step_ms),
    )


def _features(
    dims: dict[str, int], place: torch.device, batch_size: int, num_steps: int | None = None
) -> dict[str, Tensor]:
    shape = (batch_size,) if num_steps is None else (batch_size, num_steps)
    return {m: torch.randn(*shape, width, device=place) for m, width in dims.items()}


def _forward(model: Fusion, features: dict[str, Tensor]) -> None:
    model.eval()
    with torch.no_grad():
        model(features)


def _step(model: Fusion, features: dict[str, Tensor], labels: Tensor | None = None) -> None:
    model.train()
    model.zero_grad()
    out = model(features, labels=labels)
    loss = out.fused.sum() if labels is None else F.cross_entropy(out.logits, labels)
    torch.autograd.backward(loss + sum(out.losses.values(), loss.new_zeros(())))


def _often(work: Work) -> None:
    for _ in range(20):
        work()


def _best(works: dict[str, Work], rounds: int, place: torch.device) -> dict[str, float]:
    """Return each one's best time, s; one round before the first warms up."""
    best = dict.fromkeys(works, math.inf)
    for number in range(rounds + 1):
        for name, work in works.items():
            _wait(place)
            start = time.perf_counter()
            work()
            _wait(place)
            if number:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def _widths(dims: dict[str, int]) -> str:
    return " / ".join(map(str, dims.values()))
