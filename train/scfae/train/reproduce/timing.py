"""Table 13: the time of SCFAE beside two encoders, as shares of a forward pass and of a step.

All that is compared runs in one process, in each round in another order, so that what else the
machine does falls on all alike. A time is the median of many rounds. What SCFAE adds is the
difference of two long times, so it is taken within each round; the median is told with the 95 %
interval that the order of the rounds' values gives it, whatever their distribution. On a CPU
shares are of processor time, which waiting for other work on the machine does not add to.
"""

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats

from scfae.extract.device import choose_device
from scfae.fusion import count_parameters

from .costs import CostRow, CostTable
from .memory import Memory, measure_memory
from .tables import read_published
from .workload import NAMES, Component, Workload

ROUNDS = 15
_WARM_ROUNDS = 2
_SHARES = (
    ("SCFAE adds to a forward pass", "forward"),
    ("SCFAE adds to a train step", "train step"),
    ("SCFAE alone, of a full forward pass", "alone"),
)
_HEADS = (
    "Params, ours",
    "Latency (ms), ours",
    "Of a full forward or step [95 %]",
    "Incremental peak memory (MB), ours",
    "Total peak memory (MB), ours",
)


def table_13(*, device: str = "auto", rounds: int = ROUNDS) -> CostTable:
    """Return Table 13 as this machine has it.

    Args:
        device: `auto`, `cpu` or `cuda`.
        rounds: Of how many the median is told.
    """
    place = choose_device(device)
    published = read_published("table13")
    memory = measure_memory(place)  # before this process holds memory of the GPU itself
    workload = Workload(place)
    components = {name: workload.component(name) for name in NAMES}
    seconds, costs = _rounds(list(components.values()), place, rounds)
    rows = tuple(
        _row(
            components[one["name"]], tuple(one["printed"]), seconds, costs, memory.get(one["name"])
        )
        for one in published["rows"]
    )
    shares = tuple(_share(name, of, costs, published) for name, of in _SHARES)
    where = f"{place}, {torch.get_num_threads()} threads"
    if place.startswith("cuda"):
        where = torch.cuda.get_device_name(place)
    return CostTable(
        "table13",
        published["number"],
        published["title"],
        (*published["heads"], *_HEADS),
        (*rows, *shares),
        (
            f"Ours on {where}: medians of {rounds} rounds in which all run in turn; shares"
            f"{'' if place.startswith('cuda') else ', of processor time,'} are taken within each "
            "round, with the 95 % interval of their median. "
            + _memory_note(place, has_any=bool(memory)),
            *published["footnotes"],
        ),
    )


def _memory_note(place: str, *, has_any: bool) -> str:
    if not has_any:
        return "Memory is not measured on this system."
    if place.startswith("cuda"):
        return "Memory: PyTorch's allocator, at the first run of each."
    return (
        "Memory: resident size of a process of its own for each, at its first run; the total has "
        "Python and PyTorch in it."
    )


_Taken = dict[str, list[float]]
"""Seconds of each row in every round."""


def _rounds(components: Sequence[Component], device: str, rounds: int) -> tuple[_Taken, _Taken]:
    """Return the seconds of each in every round, all in turn, each round in another order.

    Returns:
        Seconds that passed, and what shares are of: on a CPU the processor's.
    """
    passed: _Taken = {one.name: [] for one in components}
    spent: _Taken = {one.name: [] for one in components}
    order = random.Random(0)
    for number in range(_WARM_ROUNDS + rounds):
        for one in order.sample(components, len(components)):
            _wait(device)
            start, start_cpu = time.perf_counter(), time.process_time()
            one.go()
            _wait(device)
            taken, taken_cpu = time.perf_counter() - start, time.process_time() - start_cpu
            if number >= _WARM_ROUNDS:
                passed[one.name].append(taken)
                spent[one.name].append(taken if device.startswith("cuda") else taken_cpu)
    return passed, spent


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _row(
    one: Component, printed: tuple[str, ...], seconds: _Taken, costs: _Taken, memory: Memory | None
) -> CostRow:
    kind = "train step" if one.name.endswith("train step") else "forward"
    whole = costs[f"Full SCFAE {kind}"]
    shares = [mine / all_ for mine, all_ in zip(costs[one.name], whole, strict=True)]
    share, (low, high) = median(shares)
    taken, _ = median(seconds[one.name])
    parameters = count_parameters(one.model)
    is_whole = one.name == f"Full SCFAE {kind}"
    sizes = ("", "") if memory is None else (f"{memory.added:.1f}", f"{memory.total:.1f}")
    values: dict[str, Any] = {
        "parameters": parameters,
        "seconds": taken,
        "share": share,
        "share_ci95": [low, high],
    }
    if memory is not None:
        values |= {"added_mb": memory.added, "total_mb": memory.total}
    shown = f"{share:.3f}" if is_whole else f"{share:.3f} [{low:.3f}, {high:.3f}]"
    return CostRow(
        one.name, printed, (f"{parameters / 1e6:.2f}M", f"{1e3 * taken:.2f}", shown, *sizes), values
    )


def _share(name: str, of: str, costs: _Taken, published: Any) -> CostRow:
    """Return the median share over rounds, with its interval, beside that of the printed times."""
    printed_ms = {row["name"]: float(row["printed"][1]) for row in published["rows"]}
    rounds = [
        _part(of, dict(zip(costs, some, strict=True))) for some in zip(*costs.values(), strict=True)
    ]
    share, (low, high) = median(rounds)
    return CostRow(
        name,
        ("", f"{100 * _part(of, printed_ms):.1f} %"),
        ("", "", f"{100 * share:.1f} % [{100 * low:.1f}, {100 * high:.1f}]", "", ""),
        {"share": share, "share_ci95": [low, high]},
    )


def median(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return a median and its 95 % interval: two of the values themselves, or the outermost."""
    test = stats.quantile_test(np.asarray(values), p=0.5)
    interval = test.confidence_interval(confidence_level=0.95)
    low, high = float(interval.low), float(interval.high)
    # Of fewer than six values no interval holds the median with that confidence.
    low = min(values) if np.isnan(low) else low
    high = max(values) if np.isnan(high) else high
    return statistics.median(values), (low, high)


def _part(of: str, times: dict[str, float]) -> float:
    if of == "alone":
        return times["SCFAE only"] / times["Full SCFAE forward"]
    return times[f"Full SCFAE {of}"] / times[f"Baseline {of}"] - 1.0
