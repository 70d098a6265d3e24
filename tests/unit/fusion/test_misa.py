"""MISA: one shared matrix, and its losses in plain numpy."""

import numpy as np
import numpy.typing as npt
import torch

from scfae.fusion import build_fusion, count_parameters
from scfae.fusion.misa import MISA

DIMS = {"a": 6, "v": 10}
Array = npt.NDArray[np.float64]


def make() -> MISA:
    torch.manual_seed(0)
    model = build_fusion("misa", DIMS, num_outputs=3, width=4, feed_forward=8)
    assert isinstance(model, MISA)
    return model.eval()


def unit(rows: Array) -> Array:
    centred = rows - rows.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / (lengths + 1e-6))


def moments(x: Array) -> list[Array]:
    centred = x - x.mean(axis=0)
    return [x.mean(axis=0), *(np.asarray((centred**k).mean(axis=0)) for k in range(2, 6))]


def test_losses_are_their_equations_over_what_is_present() -> None:
    model = make()
    features = {m: torch.randn(6, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True]] * 4 + [[True, False], [False, False]])
    out = model(features, present)
    private = {m: x.detach().double().numpy() for m, x in out.specific.items()}
    shared = {m: x.detach().double().numpy() for m, x in out.shared.items()}
    diff = sum(
        np.square(unit(private[m][:n]).T @ unit(shared[m][:n])).mean()
        for m, n in (("a", 5), ("v", 4))
    )
    diff += np.square(unit(private["a"][:4]).T @ unit(private["v"][:4])).mean()
    assert np.isclose(out.losses["diff"].item(), diff, atol=1e-6)
    pairs = zip(moments(shared["a"][:5]), moments(shared["v"][:4]), strict=True)
    sim = sum(np.linalg.norm(x - y) for x, y in pairs)
    assert np.isclose(out.losses["sim"].item(), sim, atol=1e-6)
    recon = 0.0
    for m, n in (("a", 5), ("v", 4)):
        u = model.project[m](features[m]).detach().double().numpy()
        error = np.square(out.recon[m].detach().double().numpy() - u).mean(axis=1)
        recon += error[:n].sum()
    assert np.isclose(out.losses["recon"].item(), recon / 2 / 5, atol=1e-6)


def test_the_shared_matrix_is_one() -> None:
    model = make()
    with torch.no_grad():
        model.project["v"] = model.project["a"]
        model.dims["v"] = 6
    rows = torch.randn(3, 6)
    out = model({"a": rows, "v": rows})
    assert torch.equal(out.shared["a"], out.shared["v"])
    assert not torch.equal(out.specific["a"], out.specific["v"])


def test_size_is_the_formula_of_the_published_widths() -> None:
    d = {"t": 768, "v": 35, "a": 74}
    model = build_fusion("misa", d, num_outputs=1)
    linear = 128 * 128 + 128
    project = sum(n * 128 + 128 + 256 for n in d.values())
    transformer = 4 * linear - 128 + 2 * 128 * 2048 + 2048 + 128 + 2 * 256
    joint = 768 * 384 + 384 + 384 + 1
    assert count_parameters(model) == project + 7 * linear + transformer + joint
