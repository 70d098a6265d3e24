"""A fusion model behind `InputNorm`, fitted on the training split of a store.

Why and how: `scfae.fusion.InputNorm`. Its buffers lie beside the model's own weights, so that
checkpoints carry them and a swapped column keeps the scale the model was trained at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from scfae.fusion import InputNorm, TrainingBatch
from scfae.store import FeatureStream, StoreView
from scfae.store.errors import TaskError

_BATCH_SIZE = 256
_FEW = 8


class Standardised(InputNorm):
    """A fusion model behind a fixed shift of each input feature and one scale a modality.

    Args:
        model: The fusion model.
        dims: Features a row of each modality whose features are stored.
        rms: Root mean square that every modality gets, over features and training samples.
    """

    def __init__(self, model: nn.Module, dims: Mapping[str, int], *, rms: float = 1.0) -> None:
        super().__init__(dims, rms=rms)
        self.model = model

    def forward(
        self,
        features: Mapping[str, Tensor],
        present: Tensor | None = None,
        lengths: Mapping[str, Tensor] | None = None,
        *,
        labels: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Any:
        """Return the model's output for features `[B, T, D]`; it hides what is absent itself."""
        stored = {m: x for m, x in features.items() if m in self.dims}
        shifted = {**features, **self.normalise(stored)}  # others have an encoder of their own
        return self.model(shifted, present, lengths, labels=labels, groups=groups)

    def fit_view(self, view: StoreView) -> None:
        """Take mean and deviation from a view, in one pass.

        Raises:
            TaskError: If a row of the view is not finite.
        """
        try:
            self.fit(_batches(view, self.modalities))
        except ValueError as error:
            raise TaskError(f"the store's rows cannot be standardised: {error}.") from error


def _batches(view: StoreView, modalities: Sequence[str]) -> Iterator[TrainingBatch]:
    is_all = len(modalities) == len(view.modalities)
    # Beside stored features there may be windows, of which few fit into memory.
    size = _BATCH_SIZE if is_all else _FEW
    for batch in FeatureStream(view, batch_size=size, shuffle=False):
        yield {m: batch.features[m] for m in modalities}, None, batch.lengths
