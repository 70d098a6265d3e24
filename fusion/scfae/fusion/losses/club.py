"""CLUB: a contrastive log-ratio upper bound of mutual information (Cheng et al., arXiv 2006.12013).

    q(y | x) = N(mu(x), exp(logvar(x))), learned by maximum likelihood
    bound    = mean_i sum_d [ -(mu_i - y_i)^2 + mean_j (y_j - mu_i)^2 ] / (2 exp(logvar_i))

The released code alternates steps of q, with an optimizer of its own, and of the task. Here both
are losses whose gradients do not meet, so that one optimizer does both in one step: the learning
loss reaches only q, and the bound passes through q with its parameters held constant.

The bound may be negative while q is poor. Two more forms of the released code: `sampled` compares
with one other row each (CLUBSample), `unit_variance` fixes the variance at 1 (CLUBMean).
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call


class CLUB(nn.Module):
    """The estimator q and its bound.

    Args:
        x_width: Features of x.
        y_width: Features of y.
        hidden: Width of both networks' hidden layer; the released code takes h / 2.
        sampled: One random other row for each, in place of all.
        unit_variance: Variance 1, half the parameters.
    """

    def __init__(
        self,
        x_width: int,
        y_width: int,
        *,
        hidden: int = 64,
        sampled: bool = False,
        unit_variance: bool = False,
    ) -> None:
        super().__init__()
        self.sampled = sampled
        self.mean = nn.Sequential(nn.Linear(x_width, hidden), nn.ReLU(), nn.Linear(hidden, y_width))
        self.log_variance: nn.Module | None = None
        if not unit_variance:
            self.log_variance = nn.Sequential(
                nn.Linear(x_width, hidden), nn.ReLU(), nn.Linear(hidden, y_width), nn.Tanh()
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of y, both `[B, E]`, from x `[B, D]`."""
        mean: Tensor = self.mean(x)
        return mean, torch.zeros_like(mean) if self.log_variance is None else self.log_variance(x)

    def learning_loss(self, x: Tensor, y: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """Return `mean sum_d ((mu - y)^2 / exp(logvar) + logvar)`; it reaches only the estimator.

        Args:
            x: `[B, D]`.
            y: `[B, E]`.
            valid: bool `[B]`, the rows that count; None is all.
        """
        mean, log_variance = self(x.detach())
        errors = (mean - y.detach()).square() / log_variance.exp() + log_variance
        return _mean(errors.sum(dim=1), valid)

    def bound(self, x: Tensor, y: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """Return the bound in nats; its gradient reaches x and y, not the estimator.

        Args:
            x: `[B, D]`.
            y: `[B, E]`.
            valid: bool `[B]`, the rows that count; None is all.
        """
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        mean, log_variance = functional_call(self, frozen, (x,))
        near = (mean - y).square()
        if self.sampled:
            far = (mean - y[self._partners(valid, len(y), y.device)]).square()
        else:
            # E_j (y_j - mu)^2 = (E y - mu)^2 + Var y, which saves a [B, B, E] tensor.
            count = len(y) if valid is None else valid.sum().clamp(min=1)
            kept = y if valid is None else y.masked_fill(~valid[:, None], 0.0)
            centre = kept.sum(dim=0) / count
            spread = y - centre
            if valid is not None:
                spread = spread.masked_fill(~valid[:, None], 0.0)
            far = (mean - centre).square() + spread.square().sum(dim=0) / count
        return _mean(((far - near) / (2 * log_variance.exp())).sum(dim=1), valid)

    def _partners(self, valid: Tensor | None, count: int, device: torch.device) -> Tensor:
        """Return the row each is compared with: in training a draw, in evaluation the next one."""
        partners = torch.arange(count, device=device)
        rows = partners if valid is None else partners[valid]
        turned = rows.roll(-1)
        if self.training:
            turned = rows[torch.randperm(len(rows), device=device)]
        return partners.index_copy(0, rows, turned)


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return values.mean()
    return values.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)
