"""Methods of transformers a second time, sample by sample in numpy, from their weights alone.

What sizes and masks cannot tell is a scale, norm or residual that is missing or out of order.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch

from scfae.fusion import CrossAttention, Fusion
from scfae.fusion.bottleneck import Bottleneck
from scfae.fusion.mult import MulT
from scfae.fusion.perceiver import Perceiver

Array = npt.NDArray[np.float64]
DIMS = {"a": 3, "v": 5, "t": 4}
LENGTHS = {"a": [4, 2, 1], "v": [3, 3, 2], "t": [2, 1, 0]}
PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0]], dtype=bool)


def gelu(x: Array) -> Array:
    y: Array = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(x)
    return y


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def code(num_steps: int, width: int) -> Array:
    """Return sines and cosines of positions, the sines first."""
    rows = [
        [math.sin(t / 10_000 ** (2 * i / width)) for i in range(width // 2)]
        + [math.cos(t / 10_000 ** (2 * i / width)) for i in range(width // 2)]
        for t in range(num_steps)
    ]
    return np.array(rows, dtype=np.float64).reshape(num_steps, width)


def embed(x: Array) -> Array:
    return x * math.sqrt(x.shape[1]) + code(*x.shape)


class Weights:
    """A model's weights, and what layers make of them for one sample `[T, W]`.

    Args:
        model: Its state is read once.
        heads: Attention heads.
    """

    def __init__(self, model: Fusion, heads: int) -> None:
        self.w = {key: p.detach().numpy() for key, p in model.state_dict().items()}
        self.heads = heads

    def linear(self, name: str, x: Array) -> Array:
        y: Array = x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)
        return y

    def norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        y: Array = unit * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]
        return y

    def attend(self, name: str, queries: Array, keys: Array, heads: int | None = None) -> Array:
        if not len(keys):
            return self.linear(f"{name}.out", np.zeros((1, self.w[f"{name}.out.weight"].shape[1])))
        parts = zip(
            *(
                np.split(self.linear(f"{name}.{part}", x), heads or self.heads, axis=1)
                for part, x in (("query", queries), ("key", keys), ("value", keys))
            ),
            strict=True,
        )
        heard = []
        for query, key, value in parts:
            shares = np.exp(query @ key.T / math.sqrt(query.shape[1]))
            heard.append(shares / shares.sum(axis=1, keepdims=True) @ value)
        return self.linear(f"{name}.out", np.concatenate(heard, axis=1))

    def feed(self, name: str, x: Array, activation: str) -> Array:
        """Return the sum of x and of what a perceptron makes of its norm."""
        hidden = self.linear(f"{name}.feed_forward.0", self.norm(f"{name}.norm_feed_forward", x))
        hidden = relu(hidden) if activation == "relu" else gelu(hidden)
        last = max(int(k.split(".")[-2]) for k in self.w if k.startswith(f"{name}.feed_forward."))
        return x + self.linear(f"{name}.feed_forward.{last}", hidden)

    def layer(self, name: str, x: Array, activation: str = "gelu") -> Array:
        normed = self.norm(f"{name}.norm_attention", x)
        return self.feed(name, x + self.attend(f"{name}.attention", normed, normed), activation)

    def cross(self, name: str, x: Array, keys: Array, activation: str = "gelu") -> Array:
        queries, keys = self.norm(f"{name}.norm_query", x), self.norm(f"{name}.norm_key", keys)
        return self.feed(name, x + self.attend(f"{name}.attention", queries, keys), activation)


Sample = Mapping[str, Array]
"""The rows of what one sample has, `[T, D]`; what is absent has none."""


def mult(w: Weights, rows: Sample) -> Array:
    streams = {m: embed(w.linear(f"project.{m}", x)) for m, x in rows.items()}
    last = []
    for m in DIMS:
        if not len(rows[m]):
            last.append(np.zeros(2 * 8))
            continue
        heard = []
        for k in DIMS:
            if k != m:
                x = streams[m]
                for i in range(2):
                    x = w.cross(f"cross.{k}|{m}.layers.{i}", x, streams[k], "relu")
                heard.append(w.norm(f"cross.{k}|{m}.norm", x))
        x = embed(np.concatenate(heard, axis=1))
        for i in range(2):
            x = w.layer(f"memory.{m}.{i}", x, "relu")
        last.append(w.norm(f"memory_norm.{m}", x)[-1])
    joined = np.concatenate(last)
    return joined + w.linear("refine.3", relu(w.linear("refine.0", joined)))


def bottleneck(w: Weights, rows: Sample) -> Array:
    streams = {}
    for m, x in rows.items():
        if len(x):
            tokens = w.linear(f"project.{m}", x)
            tokens = tokens + code(*tokens.shape)
            streams[m] = np.concatenate([w.w[f"class_token.{m}"][0], tokens])
    shared = w.w["bottleneck"][0]
    for i in range(3):
        rewritten = []
        for m, x in streams.items():
            if i < 1:
                streams[m] = w.layer(f"layers.{i}.{m}", x)
                continue
            y = w.layer(f"layers.{i}.{m}", np.concatenate([x, shared]))
            streams[m] = y[: len(x)]
            rewritten.append(y[len(x) :])
        shared = np.mean(rewritten, axis=0) if rewritten else shared
    fused: Array = np.mean([w.norm("norm", x[0]) for x in streams.values()], axis=0)
    return fused


def cross_attention(w: Weights, rows: Sample) -> Array:
    streams = {m: w.linear(f"project.{m}", x) for m, x in rows.items()}
    streams = {m: x + code(len(x), 8) for m, x in streams.items()}
    for i in range(2):
        before = dict(streams)
        for m in DIMS:
            null = w.w[f"layers.{i}.{m}.null"][0]
            keys = np.concatenate([null, *(before[k] for k in DIMS if k != m)])
            if len(before[m]):
                streams[m] = w.cross(f"layers.{i}.{m}", before[m], keys)
    means = [
        w.norm(f"norm.{m}", x).mean(axis=0) if len(x) else np.zeros(8) for m, x in streams.items()
    ]
    return np.concatenate(means)


def perceiver(w: Weights, rows: Sample) -> Array:
    tokens = []
    for m, x in rows.items():
        if not len(x):
            continue
        place = np.linspace(-1.0, 1.0, len(x))[:, None]
        angles = place * np.linspace(1.0, 5.0, 6) * math.pi
        coded = np.concatenate([x, np.sin(angles), np.cos(angles), place], axis=1)
        tokens.append(w.linear(f"project.{m}", coded) + w.w[f"kind.{m}"])
    keys = np.concatenate(tokens)
    x = w.w["latents"]

    def think(name: str, x: Array) -> Array:
        value, gate = np.split(w.linear(f"{name}.enter", w.norm(f"{name}.norm", x)), 2, axis=1)
        return x + w.linear(f"{name}.leave", value * gelu(gate))

    for i in range(2):
        name = f"rounds.{i}"
        normed = w.norm(f"{name}.norm_latents", x)
        x = x + w.attend(f"{name}.read", normed, w.norm(f"{name}.norm_tokens", keys), heads=1)
        x = think(f"{name}.think", x)
        normed = w.norm(f"{name}.self_norm.0", x)
        x = x + w.attend(f"{name}.self_attention.0", normed, normed)
        x = think(f"{name}.self_think.0", x)
    return w.norm("norm", x.mean(axis=0))


def build(name: str) -> Fusion:
    torch.manual_seed(0)
    if name == "mult":
        return MulT(DIMS, width=8, num_layers=2, num_heads=2)
    if name == "bottleneck":
        return Bottleneck(DIMS, width=8, num_layers=3, fusion_layer=1, num_heads=2)
    if name == "cross_attention":
        return CrossAttention(DIMS, width=8, num_layers=2, num_heads=2)
    return Perceiver(DIMS, width=8, num_latents=4, depth=2, num_heads=2, head_width=6)


BY_HAND = {
    "mult": mult,
    "bottleneck": bottleneck,
    "cross_attention": cross_attention,
    "perceiver": perceiver,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_every_number_agrees_with_the_layers_by_hand(name: str) -> None:
    model = build(name).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # no norm or bias as it begins
            parameter.add_(torch.randn_like(parameter) * 0.3)
    lengths = {m: torch.tensor(n) for m, n in LENGTHS.items()}
    features = {m: torch.randn(3, 4, d, dtype=torch.float64) for m, d in DIMS.items()}
    fused = model(features, torch.tensor(PRESENT), lengths).fused.detach().numpy()
    weights = Weights(model, heads=2)
    for b in range(3):  # time codes are reckoned in single precision
        rows = {
            m: x[b, : LENGTHS[m][b] if PRESENT[b, i] else 0].numpy()
            for i, (m, x) in enumerate(features.items())
        }
        np.testing.assert_allclose(fused[b], BY_HAND[name](weights, rows), rtol=1e-5, atol=1e-5)
