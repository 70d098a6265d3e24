"""Batch norms folded into the convolutions before them: the same function in fewer passes.

A frozen network's batch norm is a scale and a shift of the convolution's output; computed by
itself it reads and writes the whole activation once more. Done after the weights are loaded, so
that the layout of checkpoints is the published one.
"""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Fold each batch norm that follows a convolution within an `nn.Sequential`, in place.

    The convolution may be the last layer of a nested `nn.Sequential`. Numbers change by rounding
    (r2plus1d-18: 3e-6 of the largest feature).

    Args:
        module: A network with its final weights; it is put into evaluation mode.

    Returns:
        The same module; folded norms are `nn.Identity` now, so names of other layers stay.
    """
    module.eval()
    for parent in list(module.modules()):
        if not isinstance(parent, nn.Sequential):
            continue
        for (name, layer), (norm_name, norm) in pairwise(list(parent.named_children())):
            owner: nn.Module = parent
            while isinstance(layer, nn.Sequential) and len(layer):
                owner, (name, layer) = layer, list(layer.named_children())[-1]
            if not isinstance(norm, _NORMS) or not norm.track_running_stats:
                continue
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                setattr(owner, name, fuse_conv_bn_eval(layer, norm))
                setattr(parent, norm_name, nn.Identity())
    return module
