"""What became of each sample of a shard, as it travels beside the rows: one JSON line a shard.

It is the receipt without what belongs to one file format. A shard that was not extracted yet has
no line, as it has no receipt.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from ..config import Frozen, canonical_json
from ..errors import CorruptShard
from ..receipt import Receipt, Status
from ..samples import SampleTable

FATES_FOLDER: Final = "fates"


class ShardFates(Frozen):
    """The samples of one shard of one column.

    Attributes:
        shard: Number of the shard in the export.
        lengths: Rows of each sample, T.
        status: Each sample's fate.
        reasons: Why, for the samples that are not ok, by their number in the shard.
        media: sha256 of each sample's media, None where it has none.
        ids_sha256: Digest of the sample ids in order.
        source_sha256: Of the store's own shard file, None where only some samples were taken.
    """

    shard: int = Field(ge=0)
    lengths: list[int]
    status: list[Status]
    reasons: dict[str, str]
    media: list[str | None]
    ids_sha256: str
    source_sha256: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if not len(self.lengths) == len(self.status) == len(self.media):
            raise ValueError("lengths, status and media differ in number")
        if any(length < 0 for length in self.lengths):
            raise ValueError("a length is negative")
        numbers = {str(place) for place in range(len(self.status))}
        if not set(self.reasons) <= numbers:
            raise ValueError("a reason belongs to no sample")
        return self

    @classmethod
    def of(
        cls, receipt: Receipt, *, shard: int, places: npt.NDArray[np.int64] | None, ids_sha256: str
    ) -> Self:
        """Return the fates of a receipt.

        Args:
            receipt: The receipt.
            shard: Number of the shard in the export.
            places: Which samples of the shard are taken, by their number in it; None is all.
            ids_sha256: Digest of the ids that are taken.
        """
        taken = range(len(receipt.status)) if places is None else places.tolist()
        reasons = {
            str(new): receipt.reasons[str(old)]
            for new, old in enumerate(taken)
            if str(old) in receipt.reasons
        }
        return cls(
            shard=shard,
            lengths=[receipt.lengths[i] for i in taken],
            status=[receipt.status[i] for i in taken],
            reasons=reasons,
            media=[receipt.media[i] for i in taken],
            ids_sha256=ids_sha256,
            source_sha256=receipt.sha256 if places is None else None,
        )

    @property
    def rows(self) -> int:
        """Rows of all samples, R."""
        return sum(self.lengths)

    def line(self) -> bytes:
        """Return the fates as one line of JSON."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"

    def reason(self, place: int) -> str | None:
        """Return why the sample of this number in the shard is not ok."""
        return self.reasons.get(str(place))


def fates_file(column: str) -> str:
    """Return the path of a column's fates in an export."""
    return f"{FATES_FOLDER}/{column}.jsonl"


def read_fates(path: Path, samples: SampleTable) -> Iterator[ShardFates]:
    """Yield the fates of a column, shard after shard.

    Args:
        path: The file of an export.
        samples: The export's sample table; fates of other samples are refused.

    Raises:
        CorruptShard: If a line is no such thing, or its shards or samples are not the table's.
    """
    last = -1
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                fates = ShardFates(**json.loads(line))
                if not last < fates.shard < samples.num_shards:
                    raise ValueError(f"it is of shard {fates.shard} after shard {last}")
                here = samples.rows_of(fates.shard)
                if len(fates.lengths) != len(here):
                    raise ValueError(f"it counts {len(fates.lengths)} samples, not {len(here)}")
                if fates.ids_sha256 != samples.ids_sha256(fates.shard):
                    raise ValueError("it is of other samples")
            except ValidationError as error:
                what = error.errors(include_url=False)[0]["msg"]
                raise CorruptShard(f"{path}, line {number}: {what}.") from None
            except (ValueError, TypeError, RecursionError) as error:
                raise CorruptShard(f"{path}, line {number}: {error}.") from None
            last = fates.shard
            yield fates
