"""DiCMoR: flows that invert, their determinant by autograd, and the likelihood by scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from scfae.fusion import build_fusion
from scfae.fusion.dicmor import DiCMoR
from scfae.fusion.flows import Flow

DIMS = {"a": 6, "v": 10}


def disturbed_flow() -> Flow:
    torch.manual_seed(0)
    flow = Flow(4, 3, 8)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return flow


def make() -> DiCMoR:
    torch.manual_seed(0)
    small = {"width": 8, "num_segments": 4, "num_heads": 2, "num_layers": 1}
    flows = {"num_flow_steps": 2, "flow_hidden": 8, "num_refiner_blocks": 1}
    model = build_fusion("dicmor", DIMS, num_outputs=3, **small, **flows)
    assert isinstance(model, DiCMoR)
    model.begin_stage(1)
    return model.eval()


def test_a_flow_inverts_and_knows_its_determinant() -> None:
    flow = disturbed_flow()
    x = torch.randn(2, 3, 4)
    z, log_det = flow(x)
    assert torch.allclose(flow.inverse(z), x, atol=1e-4)
    assert torch.equal(flow.transform(x), z)

    def first(flat: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = flow(flat.view(1, 3, 4))[0]
        return z.flatten()

    jacobian = torch.autograd.functional.jacobian(first, x[0].flatten())  # type: ignore[no-untyped-call]
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert log_det[0].item() == pytest.approx(expected.item(), abs=1e-4)


def test_steps_do_not_mix() -> None:
    flow = disturbed_flow()
    x = torch.randn(1, 3, 4)
    assert torch.allclose(flow(x[:, 1:2])[0], flow(x)[0][:, 1:2], atol=1e-6)


def test_the_loss_is_the_likelihood_under_the_class() -> None:
    model = make()
    with torch.no_grad():
        model.prior["mean"].normal_()
        model.prior["log_sd"].normal_(std=0.1)
    features = {m: torch.randn(2, 4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [False, True]])
    loss = model(features, present, labels=torch.tensor([2, 0])).losses["flow"]
    total = 0.0
    for b, label, names in ((0, 2, "av"), (1, 0, "v")):
        mean = model.prior["mean"][label].detach().numpy()
        sd = model.prior["log_sd"][label].detach().exp().numpy()
        for m in names:
            x = model.convolve[m](features[m][b : b + 1].transpose(1, 2)).transpose(1, 2)
            x = torch.nn.functional.layer_norm(x, (8,))
            z, log_det = model.flows[m](x)
            log_p = norm.logpdf(z[0].detach().numpy(), mean, sd).sum() + log_det.item()
            total += max(0.0, -log_p / (math.log(2) * 32))
    assert np.isclose(loss.item(), total / 2, atol=1e-4)
    assert "flow" not in model(features, present).losses


def test_what_is_hidden_teaches_its_flow_too() -> None:
    model = make()
    features = {m: torch.randn(6, 4, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True]] * 5 + [[False, True]])
    labels = torch.arange(6) % 3
    expected = model(features, present, labels=labels).losses["flow"]
    model.train()
    assert torch.allclose(model(features, present, labels=labels).losses["flow"], expected)


def test_one_modality_is_carried_over_by_both_flows() -> None:
    model = make()
    x = torch.randn(2, 8, 4)
    seen = torch.tensor([[True, False]] * 2)
    z, _ = model.flows["a"](x.transpose(1, 2))
    sources = model.sources({"a": x, "v": torch.zeros_like(x)})
    carried = model.imagine("v", sources, seen).transpose(1, 2)
    assert torch.allclose(model.flows["v"](carried)[0], z, atol=1e-4)


def test_values_are_classes_by_rounding() -> None:
    model = build_fusion("dicmor", DIMS, num_outputs=1, num_flow_steps=1, num_refiner_blocks=1)
    assert isinstance(model, DiCMoR)
    values = torch.tensor([-3.4, -0.2, 1.6, 9.0])
    assert model._classes(values).tolist() == [0, 3, 5, 6]
    assert model._classes(torch.zeros(2, 4)).tolist() == [0, 0]
