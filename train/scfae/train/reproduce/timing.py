"""Table 13: the time of SCFAE beside two encoders, as shares of a forward pass and of a step.

All that is compared runs in turn in one process, and the best round of each counts: other work on
the machine makes rounds slower, never quicker. What SCFAE adds is the difference of two long times,
so it is taken within each round, and the median is told with its quartiles.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from scfae.fusion import Fusion, build_fusion, count_parameters

from ..device import choose_device
from .costs import CostRow, CostTable
from .tables import read_published

WIDTH = 512
ENCODER = "vit_small_patch16_224"
ROUNDS = 15
PIXELS = 224
_WARM_ROUNDS = 2


class _Whole(nn.Module):
    """Two encoders with a map to 512 each, and a fusion with a head."""

    def __init__(self, visual: nn.Module, audio: nn.Module, fusion: Fusion) -> None:
        super().__init__()
        self.visual, self.audio, self.fusion = visual, audio, fusion

    def forward(self, picture: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the sum of auxiliary losses."""
        out = self.fusion({"audio": self.audio(sound), "video": self.visual(picture)})
        assert out.logits is not None
        losses = [*out.losses.values()] or [out.logits.new_zeros(())]
        return out.logits, torch.stack(losses).sum()


def table_13(*, device: str = "auto", rounds: int = ROUNDS) -> CostTable:
    """Return Table 13 as this machine has it.

    Args:
        device: `auto`, `cpu` or `cuda`.
        rounds: Of how many the best counts.
    """
    place = choose_device(device)
    published = read_published("table13")
    torch.manual_seed(0)
    visual, audio = (_encoder(channels).to(place) for channels in (3, 1))
    dims = {"audio": WIDTH, "video": WIDTH}
    scfae = _Whole(visual, audio, build_fusion("scfae", dims, num_outputs=2)).to(place)
    concat = _Whole(visual, audio, build_fusion("concat", dims, num_outputs=2)).to(place)
    picture = torch.randn(1, 3, PIXELS, PIXELS, device=place)
    sound = torch.randn(1, 1, PIXELS, PIXELS, device=place)
    features = {name: torch.randn(1, WIDTH, device=place) for name in dims}
    work: dict[str, tuple[nn.Module, Callable[[], object]]] = {
        "Visual encoder only": (visual, _forward(visual, picture)),
        "Audio encoder only": (audio, _forward(audio, sound)),
        "SCFAE only": (scfae.fusion, _forward(scfae.fusion, features)),
        "Baseline forward": (concat, _forward(concat, picture, sound)),
        "Baseline train step": (concat, _step(concat, picture, sound)),
        "Full SCFAE forward": (scfae, _forward(scfae, picture, sound)),
        "Full SCFAE train step": (scfae, _step(scfae, picture, sound)),
    }
    taken = _rounds(work, place, rounds)
    seconds = {name: min(some) for name, some in taken.items()}
    rows = tuple(
        _row(one["name"], tuple(one["printed"]), work[one["name"]][0], seconds)
        for one in published["rows"]
    )
    shares = tuple(_share(name, of, taken, published) for name, of in _SHARES)
    where = f"{place}, {torch.get_num_threads()} threads"
    if place.startswith("cuda"):
        where = torch.cuda.get_device_name(place)
    return CostTable(
        "table13",
        published["number"],
        published["title"],
        (*published["heads"], "Params, ours", "Latency (ms), ours", "Of a full forward or step"),
        (*rows, *shares),
        (
            f"Ours on {where}, the best of {rounds} rounds; shares: medians and quartiles.",
            *published["footnotes"],
        ),
    )


_SHARES = (
    ("SCFAE adds to a forward pass", "forward"),
    ("SCFAE adds to a train step", "train step"),
    ("SCFAE alone, of a full forward pass", "alone"),
)


def _encoder(channels: int) -> nn.Module:
    model = timm.create_model(ENCODER, pretrained=False, in_chans=channels, num_classes=WIDTH)
    assert isinstance(model, nn.Module)
    return model


def _forward(model: nn.Module, *inputs: Any) -> Callable[[], object]:
    def go() -> object:
        model.eval()
        with torch.no_grad():
            return model(*inputs)

    return go


def _step(model: nn.Module, *inputs: Tensor) -> Callable[[], object]:
    """Return a training step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    target = torch.zeros(1, dtype=torch.int64, device=inputs[0].device)

    def go() -> object:
        model.train()
        optimizer.zero_grad()
        logits, auxiliary = model(*inputs)
        loss = nn.functional.cross_entropy(logits, target) + auxiliary
        loss.backward()
        optimizer.step()
        return loss

    return go


def _rounds(
    work: dict[str, tuple[nn.Module, Callable[[], object]]], device: str, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each in every round, all in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(_WARM_ROUNDS + rounds):
        for name, (_, go) in work.items():
            _wait(device)
            start = time.perf_counter()
            go()
            _wait(device)
            taken = time.perf_counter() - start
            if number >= _WARM_ROUNDS:
                seconds[name].append(taken)
    return seconds


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _row(
    name: str, printed: tuple[str, ...], model: nn.Module, seconds: dict[str, float]
) -> CostRow:
    kind = "train step" if name.endswith("train step") else "forward"
    share = seconds[name] / seconds[f"Full SCFAE {kind}"]
    parameters = count_parameters(model)
    return CostRow(
        name,
        printed,
        (f"{parameters / 1e6:.2f}M", f"{1e3 * seconds[name]:.2f}", f"{share:.3f}"),
        {"parameters": parameters, "seconds": seconds[name], "share": share},
    )


def _share(name: str, of: str, taken: dict[str, list[float]], published: Any) -> CostRow:
    """Return the median share over rounds, with its quartiles, beside that of the printed times."""
    printed_ms = {row["name"]: float(row["printed"][1]) for row in published["rows"]}
    rounds = [
        _part(of, dict(zip(taken, some, strict=True))) for some in zip(*taken.values(), strict=True)
    ]
    low, middle, high = statistics.quantiles(rounds, n=4)
    return CostRow(
        name,
        ("", f"{100 * _part(of, printed_ms):.1f} %"),
        ("", "", f"{100 * middle:.1f} % ({100 * low:.1f} to {100 * high:.1f})"),
        {"share": middle, "quartiles": [low, high]},
    )


def _part(of: str, times: dict[str, float]) -> float:
    if of == "alone":
        return times["SCFAE only"] / times["Full SCFAE forward"]
    return times[f"Full SCFAE {of}"] / times[f"Baseline {of}"] - 1.0
