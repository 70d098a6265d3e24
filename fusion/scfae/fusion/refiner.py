"""A residual channel attention group that corrects what was imagined.

After RCAN (Zhang et al., ECCV 2018) as IMDer and DiCMoR use it, in one dimension: 1x1 to twice the
width, blocks of convolution - ReLU - convolution - channel attention, 1x1 back.

Shapes: B samples, W width, S steps.
"""

from torch import Tensor, nn


class ChannelAttentionBlock(nn.Module):
    """Two convolutions, each channel scaled by what all steps say, and a residual.

    Args:
        width: Channels.
        reduction: The attention's hidden width is `width / reduction`, at least 4.
    """

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, width // reduction)
        self.convolutions = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1),
        )
        self.scale = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, width, S]`."""
        y = self.convolutions(x)
        out: Tensor = x + y * self.scale(y.mean(dim=2))[:, :, None]
        return out


class Refiner(nn.Module):
    """A group of channel attention blocks between two 1x1 convolutions.

    Args:
        width: W.
        num_blocks: Blocks.
    """

    def __init__(self, width: int, num_blocks: int) -> None:
        super().__init__()
        self.into = nn.Conv1d(width, 2 * width, 1)
        self.blocks = nn.Sequential(
            *(ChannelAttentionBlock(2 * width) for _ in range(num_blocks)),
            nn.Conv1d(2 * width, 2 * width, 3, padding=1),
        )
        self.out = nn.Conv1d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, W, S]` from x `[B, W, S]`."""
        wide = self.into(x)
        refined: Tensor = self.out(wide + self.blocks(wide))
        return refined
