"""Linear layers of equal shape as one batched matrix product, on the layers' own parameters.

Stacking weights anew in each pass would read and write all of them; at a small batch that costs
more than the products. So the weights are laid out one behind the other in one piece of memory, and
each layer's weight is a view of it: the stack is then there already. Names, shapes and optimizers
see ordinary parameters. What is moved, copied or replaced is laid out again when it is next used.

Shapes: G groups, B samples, D in, E out, `per` layers a group that read the same input.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class LinearStack:
    """Linear layers with bias, of one shape, run as one product.

    It is no module: the layers belong to whom they belonged to.

    Args:
        layers: `G * per` layers, those of a group together.
        per: Layers a group.
    """

    def __init__(self, layers: Sequence[nn.Module], per: int = 1) -> None:
        self.layers = [layer for layer in layers if isinstance(layer, nn.Linear)]
        self.per = per
        self._pointers: list[int] = []
        self._weight = self._bias = torch.empty(0)

    def __call__(self, x: Tensor) -> Tensor:
        """Return every layer's output.

        Args:
            x: `[G, B, D]`, one input a group.

        Returns:
            `[G, B, per * E]`, the outputs of a group's layers side by side.
        """
        weights = [layer.weight for layer in self.layers]
        biases = [layer.bias for layer in self.layers]
        pointers = [tensor.data_ptr() for tensor in (*weights, *biases)]
        if pointers != self._pointers:
            groups = len(weights) // self.per
            width = self.per * weights[0].shape[0]
            self._weight = lay_out(weights).view(groups, width, -1).transpose(1, 2)
            self._bias = lay_out(biases).view(groups, 1, width)
            self._pointers = [tensor.data_ptr() for tensor in (*weights, *biases)]
        if not torch.is_grad_enabled():
            return torch.baddbmm(self._bias, x, self._weight)
        output: Tensor = _Product.apply(x, self._weight, self._bias, *weights, *biases)
        return output


@torch.no_grad()
def lay_out(tensors: Sequence[Tensor]) -> Tensor:
    """Return parameters of one shape as one tensor `[N, ...]` that shares their memory."""
    first = tensors[0]
    size = first.numel() * first.element_size()
    start = first.data_ptr()
    is_laid_out = (
        all(
            tensor.is_contiguous() and tensor.data_ptr() == start + i * size
            for i, tensor in enumerate(tensors)
        )
        and first.untyped_storage().data_ptr() == tensors[-1].untyped_storage().data_ptr()
    )
    if not is_laid_out:
        stack = torch.stack([tensor.detach() for tensor in tensors])
        for tensor, piece in zip(tensors, stack, strict=True):
            tensor.data = piece
    return first.detach().as_strided(
        (len(tensors), *first.shape), (first.numel(), *first.stride()), first.storage_offset()
    )


class _Product(torch.autograd.Function):
    """`x @ weight^T + bias` by group; the gradient goes to the layers' own parameters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *own: Tensor) -> Tensor:
        """Return `[G, B, per * E]`; `own` are the weights and then the biases behind the stacks."""
        ctx.save_for_backward(x, weight, *own[: len(own) // 2])
        return torch.baddbmm(bias, x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of each layer's weight and bias."""
        (grad,) = grads
        x, weight, *own = ctx.saved_tensors
        count = len(own)
        if torch.is_grad_enabled():  # a gradient of the gradient needs the parameters themselves
            weight = torch.stack(own).view(len(weight), -1, weight.shape[1]).transpose(1, 2)
        to_x = torch.bmm(grad, weight.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[3:]):
            return (to_x, None, None, *(None for _ in range(2 * count)))
        to_weights = torch.bmm(grad.transpose(1, 2), x).view(count, *own[0].shape).unbind()
        to_biases = grad.sum(dim=1).view(count, -1).unbind()
        return (to_x, None, None, *to_weights, *to_biases)
