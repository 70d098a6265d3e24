"""How the gradients of several losses come together: their sum, PCGrad, or their min-norm point.

PCGrad (Yu et al., arXiv 2001.06782) takes out of each gradient what points against another. The
min-norm point (Desideri 2012; Sener and Koltun, arXiv 1810.04650) is the shortest convex mixture,
which no loss ascends along; in closed form for two losses, by Frank and Wolfe's steps for more.
Parameters that only one loss reaches take its gradient as it is: there is nothing to weigh.

Shapes: L losses, P numbers in all shared parameters.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Reduce = Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]]
"""Takes one gradient a parameter, None where there is none, and returns as many."""

_MAX_STEPS = 250
_LEAST_STEP = 1e-9


def sum_gradients(gradients: Tensor) -> Tensor:
    """Return the sum `[P]` of gradients `[L, P]`."""
    return gradients.sum(dim=0)


def pcgrad(gradients: Tensor) -> Tensor:
    """Return the sum `[P]` of gradients `[L, P]`, each without its conflict with the others.

    The others come in an order drawn from torch's generator, as published.
    """
    lengths = gradients.square().sum(dim=1)
    projected = []
    for i, own in enumerate(gradients):
        left = own
        for j in torch.randperm(len(gradients)).tolist():
            if j != i:
                overlap = (left @ gradients[j]).clamp(max=0.0)
                left = left - overlap / lengths[j].clamp(min=1e-30) * gradients[j]
        projected.append(left)
    return torch.stack(projected).sum(dim=0)


def min_norm(gradients: Tensor) -> Tensor:
    """Return the shortest convex mixture `[P]` of gradients `[L, P]`.

    It is a mean, not a sum: for equal gradients 1 / L of what `sum_gradients` returns. One that is
    zero is left out: its loss, which has nothing to compare, would stop all others.
    """
    some = gradients[gradients.any(dim=1)]
    if len(some) < 2:
        return some.sum(dim=0)
    return min_norm_weights(some @ some.T).to(some.dtype) @ some


def min_norm_weights(products: Tensor) -> Tensor:
    """Return the mixture's weights `[L]`, float64, at least 0, of sum 1.

    Args:
        products: The gradients' inner products `[L, L]`.
    """
    products = products.double()
    count = len(products)
    if count == 2:
        first = _share(products[0, 0], products[0, 1], products[1, 1])
        return torch.stack([first, 1 - first])
    weights = torch.full((count,), 1.0 / count, dtype=torch.float64, device=products.device)
    for _ in range(_MAX_STEPS):
        slopes = products @ weights
        best = slopes.argmin()
        # The mixture as it is against the gradient that shortens it most.
        kept = _share(weights @ slopes, slopes[best], products[best, best])
        if 1 - kept < _LEAST_STEP:
            break
        weights = kept * weights
        weights[best] += 1 - kept
    return weights


def _share(first: Tensor, both: Tensor, second: Tensor) -> Tensor:
    """Return a in [0, 1] with `|a x + (1 - a) y|` least, from x·x, x·y and y·y."""
    apart = first - 2 * both + second
    share = torch.where(apart > 0, (second - both) / apart.clamp(min=1e-30), 0.5)
    return share.clamp(0.0, 1.0)


COMBINERS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": sum_gradients,
    "pcgrad": pcgrad,
    "min_norm": min_norm,
}


def combined_backward(
    losses: Sequence[Tensor],
    parameters: Sequence[nn.Parameter],
    combiner: str = "sum",
    *,
    reduce: Reduce | None = None,
) -> None:
    """Set each parameter's `grad` to the losses' gradients, brought together; replaces `backward`.

    It takes one backward pass a loss; `sum` takes one in all.

    Args:
        losses: Weighted scalar losses of one graph.
        parameters: Those to learn; one that no loss reaches gets None.
        combiner: `sum`, `pcgrad` or `min_norm`.
        reduce: Under data parallel training, adds one loss's gradients over the ranks, before they
            are combined; called once a backward pass. `pcgrad` draws an order on each rank.

    Raises:
        ValueError: If there is no such combiner, or no loss.
    """
    if combiner not in COMBINERS:
        raise ValueError(f"combiner: must be one of {', '.join(COMBINERS)}, not {combiner!r}")
    if not losses:
        raise ValueError("losses: at least one is needed")
    reaching = [loss for loss in losses if loss.requires_grad]
    if combiner == "sum" or len(reaching) < 2:
        total = torch.stack([loss.float() for loss in losses]).sum()
        grads = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, grad in zip(parameters, reduce(grads) if reduce else grads, strict=True):
            parameter.grad = grad
        return
    rows: list[Sequence[Tensor | None]] = [
        torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for loss in reaching
    ]
    if reduce is not None:
        rows = [reduce(row) for row in rows]
    shared = []
    for k, parameter in enumerate(parameters):
        found = [row[k] for row in rows if row[k] is not None]
        if len(found) > 1:
            shared.append(k)
        parameter.grad = found[0] if len(found) == 1 else None
    if not shared:
        return
    flat = torch.stack([torch.cat([_flat(row[k], parameters[k]) for k in shared]) for row in rows])
    sizes = [parameters[k].numel() for k in shared]
    pieces = torch.split(COMBINERS[combiner](flat), sizes)
    for k, piece in zip(shared, pieces, strict=True):
        parameters[k].grad = piece.view_as(parameters[k])


def _flat(grad: Tensor | None, parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter).flatten() if grad is None else grad.flatten()
