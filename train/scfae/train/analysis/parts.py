"""What a method that parts shared from specific says of each sample of a split.

A part is one modality's specific vector, or the shared one that comes from it. It counts only for
the samples that have the modality; they are all shown with everything they have.

Shapes: N samples, W width of a part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from scfae.store import FeatureStream, StoreView
from scfae.store.errors import PartsMissing

from ..loading import LoadedRun
from ..model import apply_model
from ..probes import alone

Array = npt.NDArray[Any]
Kind = Literal["specific", "shared"]
KINDS: Final[tuple[Kind, ...]] = ("specific", "shared")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of every sample that has its modality.

    Attributes:
        modality: Which.
        kind: `specific` or `shared`.
        vectors: float64 `[K, W]`.
        places: Places of these samples in the view, rising, int64 `[K]`.
        targets: What the task asks of this modality alone `[K]` or `[K, C]`.
    """

    modality: str
    kind: Kind
    vectors: Array
    places: Array
    targets: Array

    @property
    def name(self) -> str:
        """Such as `video, shared`."""
        return f"{self.modality}, {self.kind}"

    def taken(self, places: Array) -> "Part":
        """Return the part of samples at these places of the view alone."""
        kept = np.isin(self.places, places)
        return Part(
            self.modality, self.kind, self.vectors[kept], self.places[kept], self.targets[kept]
        )


def both(first: Part, second: Part) -> tuple[Array, Array]:
    """Return the vectors of two parts `[K, W]` of the samples that have both."""
    common = np.intersect1d(first.places, second.places)
    return first.taken(common).vectors, second.taken(common).vectors


def parts_of(loaded: LoadedRun, view: StoreView, *, device: str = "cpu") -> tuple[Part, ...]:
    """Return every part of a split: each modality's specific one, then the shared ones.

    Args:
        loaded: A run, its model in eval mode.
        view: The split.
        device: Where the model is.

    Raises:
        PartsMissing: The run's method has no such parts.
    """
    columns = {name: place for place, name in enumerate(view.modalities)}
    order = {name: place for place, name in enumerate(view.ids.tolist())}
    found: dict[tuple[Kind, str], list[tuple[Array, Array, Array]]] = {}
    for ids, present, vectors, targets in _batches(loaded, view, device):
        places = np.array([order[name] for name in ids], dtype=np.int64)
        for kind, by_modality in vectors.items():
            for modality, rows in by_modality.items():
                has = present[:, columns[modality]]
                one = (rows[has], places[has], targets[modality][has])
                found.setdefault((kind, modality), []).append(one)
    parts = []
    for kind, modality in sorted(found, key=lambda key: (KINDS.index(key[0]), columns[key[1]])):
        joined = [np.concatenate(some) for some in zip(*found[kind, modality], strict=True)]
        sorting = np.argsort(joined[1])
        vectors_, places_, targets_ = (one[sorting] for one in joined)
        parts.append(Part(modality, kind, vectors_, places_, targets_))
    return tuple(parts)


_Vectors = dict[Kind, dict[str, Array]]


@torch.no_grad()
def _batches(
    loaded: LoadedRun, view: StoreView, device: str
) -> Iterator[tuple[list[str], Array, _Vectors, dict[str, Array]]]:
    """Yield ids, presence `[B, M]`, the parts, and the task's targets of each modality alone."""
    config = loaded.config
    stream = FeatureStream(
        view,
        batch_size=config.optim.batch_size,
        shuffle=False,
        group_batches=config.loop.group_batches,
    )
    encode = loaded.task.encoder(view)
    for cpu_batch in stream:
        batch = cpu_batch.to(device)
        output = apply_model(
            loaded.model, batch.features, batch.present, batch.lengths, groups=batch.groups
        )
        if not output.has_parts:
            raise PartsMissing(
                f"{loaded.run.path} is a run of {config.model.fusion}, which does not part what is "
                "shared from what is each modality's own: take a run of scfae, misa, drfuse or dlf."
            )
        targets = {
            modality: encode(batch, alone(batch.present, place)).cpu().numpy()
            for place, modality in enumerate(view.modalities)
        }
        named = zip(KINDS, (output.specific, output.shared_parts), strict=True)
        vectors: _Vectors = {
            kind: {m: x.double().cpu().numpy() for m, x in parts.items()} for kind, parts in named
        }
        yield list(batch.ids), batch.present.cpu().numpy(), vectors, targets
