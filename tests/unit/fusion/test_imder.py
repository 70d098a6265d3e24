"""IMDer: the process's noise, the sampler on a score that is known, the loss."""

import pytest
import torch
from torch import Tensor, nn

from scfae.fusion import build_fusion
from scfae.fusion.imder import IMDer
from scfae.fusion.score_net import Level, ScoreNet, marginal_std

DIMS = {"a": 6, "v": 10}


class PointScore(nn.Module):
    """The score of latents that are all equal to one value: -(x - value) / std(t)^2."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        return (self.value - x) / marginal_std(t)[:, None, None] ** 2


def make(**options: object) -> IMDer:
    torch.manual_seed(0)
    small = {"width": 8, "num_segments": 4, "channels": (8, 16), "num_heads": 2, "num_layers": 1}
    model = build_fusion("imder", DIMS, num_outputs=3, num_refiner_blocks=1, **small, **options)
    assert isinstance(model, IMDer)
    model.begin_stage(1)
    return model


def test_noise_grows_as_the_integral_of_the_diffusion() -> None:
    times = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    integral = torch.trapezoid(25.0 ** (2 * times), times)
    assert marginal_std(torch.tensor(1.0)).item() == pytest.approx(integral.sqrt().item(), rel=1e-5)


def test_sampling_with_the_true_score_finds_the_value() -> None:
    model = make(sampling_steps=400).eval()
    model.score["v"] = PointScore(3.0)
    latents = {"a": torch.randn(2, 8, 4), "v": torch.zeros(2, 8, 4)}
    seen = torch.tensor([[True, False]] * 2)
    with torch.no_grad():
        made = model.imagine("v", latents, seen)
    assert (made - 3.0).abs().max() < 0.2
    assert torch.equal(made[0], made[1])  # the same noise for every sample


class NoScore(nn.Module):
    """No score at all: the loss is the noise's square."""

    def forward(self, x: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_the_true_score_has_no_loss_and_none_has_that_of_the_noise() -> None:
    model = make(hidden_share=0.5)
    latents = {m: torch.full((64, 8, 4), 3.0) for m in DIMS}
    everything = torch.ones(64, 2, dtype=torch.bool)
    seen = everything & torch.tensor([True, False])
    model.score["v"] = PointScore(3.0)

    class Given:
        present = everything

    loss = model.own_losses(latents, seen, Given())["score"].item()  # type: ignore[arg-type]
    assert loss == pytest.approx(0.0, abs=1e-4)
    model.score["v"] = NoScore()
    seen[:32] = True  # half of the samples hide v: 32 of 64, each with a mean square of 1
    loss = model.own_losses(latents, seen, Given())["score"].item()  # type: ignore[arg-type]
    assert loss == pytest.approx(0.5, abs=0.1)


def test_the_score_of_a_sample_needs_no_other_and_reads_the_condition() -> None:
    torch.manual_seed(0)
    net = ScoreNet(4, (8, 16), 2)
    x, condition, t = torch.randn(3, 4, 8), torch.randn(3, 4, 8), torch.rand(3) + 0.1
    whole = net(x, condition, t)
    assert whole.shape == x.shape
    assert torch.allclose(net(x[1:2], condition[1:2], t[1:2]), whole[1:2], atol=1e-5)
    assert not torch.allclose(net(x, condition + 1.0, t), whole, atol=1e-4)


def test_the_score_hears_the_condition_of_its_own_step_and_before() -> None:
    torch.manual_seed(0)
    net = ScoreNet(8, (8,), 2)  # one level alone, whose last convolution reaches one step back
    net.down[0].norm = nn.Identity()  # it is over all steps
    x, condition, t = torch.randn(1, 8, 12), torch.randn(1, 8, 12), torch.rand(1) + 0.1
    later = condition.clone()
    later[:, :, 8:] = torch.randn(1, 8, 4)
    changed = (net(x, later, t) - net(x, condition, t)).abs().amax(dim=(0, 1)) > 1e-6
    assert changed.tolist() == [False] * 7 + [True] * 5


def test_the_way_up_hears_the_condition_too() -> None:
    torch.manual_seed(0)
    net = ScoreNet(8, (8, 16), 2)
    for level in net.down:
        assert isinstance(level, Level)
        for parameter in level.hear.parameters():
            nn.init.zeros_(parameter)  # what a transformer ends with is its norm: it says nothing
    x, condition, t = torch.randn(2, 8, 8), torch.randn(2, 8, 8), torch.rand(2) + 0.1
    assert not torch.allclose(net(x, condition + 1.0, t), net(x, condition, t), atol=1e-4)


def test_segments_must_fit_the_levels() -> None:
    with pytest.raises(ValueError, match="num_segments"):
        build_fusion("imder", DIMS, num_segments=8)
