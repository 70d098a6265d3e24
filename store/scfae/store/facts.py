"""What is known of all samples of a view without reading rows; the same in every epoch.

Shapes: N samples, M modalities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .batch import label_tensor
from .hashing import IdKeys
from .order import Booleans, Integers
from .sample_view import SampleView


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Columns of the index, as batches take them.

    Attributes:
        ids: Sample ids `[N]`.
        keys: Hashes of the ids, made when needed.
        available: Which modalities samples have `[N, M]`.
        lengths: Stored rows of every sample, for each modality `[N]`.
        labels: Labels of every sample, for each label `[N]`.
        groups: Number of every sample's group `[N]`, where batches show it.
    """

    ids: npt.NDArray[Any]
    keys: IdKeys
    available: Booleans
    lengths: Mapping[str, npt.NDArray[Any]]
    labels: Mapping[str, Tensor]
    groups: Integers | None = None

    @classmethod
    def of(
        cls,
        view: SampleView,
        *,
        lengths: Mapping[str, npt.NDArray[Any]] | None = None,
        has_groups: bool = False,
    ) -> "Facts":
        """Return the facts of a view.

        Args:
            view: The view.
            lengths: Its lengths, where they were already asked for.
            has_groups: Whether batches show the groups.
        """
        return cls(
            ids=view.ids,
            keys=IdKeys(view.ids),
            available=np.asarray(view.available, dtype=bool),
            lengths=lengths or {m: np.asarray(view.lengths(m)) for m in view.modalities},
            labels={name: label_tensor(view.label(name)) for name in view.label_names},
            groups=view.group_of if has_groups else None,
        )
