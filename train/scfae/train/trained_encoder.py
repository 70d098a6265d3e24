"""Encoders that learn with a fusion model: from windows kept as rows to features, inside the model.

A column `input:ENCODER` holds what an encoder reads. Here its network stands before the fusion
method: of every sample that has the modality each window becomes one row of features, which the
method reads as it would stored ones. Windows go through in chunks; with `checkpointing` nothing of
a chunk is kept for the backward pass, so memory is that of one chunk.

A block that rests stays in evaluation mode: its batch norms and its dropout too. Batch norms that
learn see the windows of a chunk, and under several processes those of their own; the first
process's statistics are kept.

Shapes: B samples, T windows of one, D values of a window, n windows, d features.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from scfae.extract.encoders.inputs import windows_of
from scfae.extract.trainable import choose_blocks, load_trainable
from scfae.store.errors import ConfigError

from .encoder_config import EncoderConfig

_Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


class TrainedEncoder(nn.Module):
    """A network of stage one that may learn.

    Args:
        modality: Whose, for messages.
        config: Which encoder, and what of it learns.
        dim: Values of a row, D.

    Raises:
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If it cannot be loaded.
        ConfigError: If rows of this width are not its windows, or it has no such blocks.

    Attributes:
        dim: Features of a row it gives, d.
        network: What learns.
    """

    def __init__(self, modality: str, config: EncoderConfig, dim: int) -> None:
        super().__init__()
        found = load_trainable(config.encoder, width=config.width)
        if found.form.dim != dim:
            raise ConfigError(
                f"encoders.{modality} = {config.encoder}: a window is {list(found.form.shape)}, so "
                f"rows of {found.form.dim} values, but the column's have {dim}: extract "
                f"input:{config.encoder.partition('@')[0]} with the same options."
            )
        self.config = config
        self.dim = found.encoder.spec.dim
        self.network = found.encoder.module
        self._encoder, self._form = found.encoder, found.form
        blocks = choose_blocks(found.encoder, config.train)
        self._is_whole = config.train == "full"
        self._learning = {
            name
            for name, _ in self.network.named_modules()
            if any(block.holds(name) for block in blocks)
        }
        for name, parameter in self.network.named_parameters():
            is_unused = any(name.startswith(one) for one in found.encoder.unused)
            parameter.requires_grad_(any(b.holds(name) for b in blocks) and not is_unused)
        self.train()

    def train(self, mode: bool = True) -> "TrainedEncoder":
        """Set the mode of what learns; what rests stays in evaluation mode."""
        super().train(mode)
        for name, module in self.network.named_modules():
            module.training = mode and (self._is_whole or name in self._learning)
        return self

    def forward(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return features `[B, T, d]`, zero where there is no window.

        Args:
            rows: Windows as rows `[B, T, D]`.
            valid: bool `[B, T]`: which are there.
        """
        self._encoder.device = rows.device
        features = rows.new_zeros((*valid.shape, self.dim))
        for places in self._chunks(rows, valid):
            encoded = self._encoded(rows, places)
            features = features.index_put(places.unbind(1), encoded.to(features.dtype))
        return features

    def _chunks(self, rows: Tensor, valid: Tensor) -> Iterator[Tensor]:
        """Yield places `[n, 2]` of windows of one length, in chunks of about equal size."""
        places = valid.nonzero()
        groups = [places]
        if self._form.short == "own length":
            lengths = rows[places[:, 0], places[:, 1], 0]
            groups = [places[lengths == length] for length in sorted(set(lengths.tolist()))]
        for group in groups:
            if len(group):
                yield from group.tensor_split(-(-len(group) // self.config.chunk))

    def _encoded(self, rows: Tensor, places: Tensor) -> Tensor:
        """Return the features of some windows `[n, d]`."""
        if not any(parameter.requires_grad for parameter in self.network.parameters()):
            with torch.no_grad():
                return self._encode(rows, places)
        if self.config.checkpointing and self.training and torch.is_grad_enabled():
            # Windows are cut out of the batch again, so that no chunk of them is kept either.
            encoded: Tensor = checkpoint(
                self._encode, rows, places, use_reentrant=False, context_fn=self._contexts
            )
            return encoded
        return self._encode(rows, places)

    def _encode(self, rows: Tensor, places: Tensor) -> Tensor:
        windows = windows_of(self._form, rows[places[:, 0], places[:, 1]])
        return self._encoder.encode(windows).float().mean(dim=1)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _without_statistics(self.network)


@contextmanager
def _without_statistics(network: nn.Module) -> Iterator[None]:
    """Keep batch norms from counting a batch twice, when it is computed again."""
    norms = [m for m in network.modules() if isinstance(m, _Norm) and m.training]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # A batch of weight 0: the same tensors are read, as checkpointing wants it.
        norm.momentum = 0.0
        norm.num_batches_tracked = torch.zeros((), dtype=torch.int64)
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
