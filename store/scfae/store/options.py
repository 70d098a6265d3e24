"""The settings of a stream, checked, and the ones of them that decide what an epoch's batches are.

Shapes: U units (samples, or groups), M modalities.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, Literal, cast

from .batch import Layout
from .crop import Crop, PerModality
from .errors import ConfigError
from .order import Integers, integer
from .plan import Rules

Bucketing = Literal["none", "length"]
Last = Literal["short", "drop", "wrap", "pad"]
OnDamage = Literal["stop", "mask"]
FeatureDtype = Literal["float32", "stored"]
CropAt = Literal["random", "center"]

_CHOICES: Final = {
    "bucketing": ("none", "length"),
    "last": ("short", "drop", "wrap", "pad"),
    "layout": ("padded", "packed", "pooled"),
    "dtype": ("float32", "stored"),
    "on_damage": ("stop", "mask"),
}


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How batches are made and read; see `FeatureStream` for what each setting means.

    Attributes:
        rules: How the order is cut into batches.
        crop: Which rows of a sample are read.
        balance: The label whose classes come equally often; None is no balance.
        group_batches: Whether batches hold whole groups.
        layout: `padded`, `packed` or `pooled`.
        keeps_dtype: Whether features stay in the stored dtype.
        masks_damage: Whether a damaged shard hides its samples' modality.
    """

    rules: Rules
    crop: Crop
    balance: str | None
    group_batches: bool
    layout: Layout
    keeps_dtype: bool
    masks_damage: bool

    @classmethod
    def parse(
        cls,
        modalities: tuple[str, ...],
        *,
        batch_size: int,
        shuffle: bool,
        bucketing: str,
        max_rows: int | None,
        last: str,
        balance: str,
        group_batches: bool,
        crop: PerModality,
        crop_at: str,
        stride: PerModality,
        layout: str,
        dtype: str,
        on_damage: str,
    ) -> "BatchOptions":
        """Check the settings.

        Raises:
            ConfigError: If one is unknown, out of range or contradicts another; names the field.
        """
        given = {
            "bucketing": bucketing,
            "last": last,
            "layout": layout,
            "dtype": dtype,
            "on_damage": on_damage,
        }
        for field, value in given.items():
            if value not in _CHOICES[field]:
                raise ConfigError(f"{field}: must be {' or '.join(_CHOICES[field])}, not {value!r}")
        if max_rows is not None:
            max_rows = integer("max_rows", max_rows, least=1)
        label = None if balance == "none" else balance
        if label is not None and group_batches:
            raise ConfigError("balance: groups have no one class; leave out group_batches")
        if label is not None and bucketing != "none":
            raise ConfigError(
                "balance: batches of one length are not balanced; leave out bucketing"
            )
        if label is not None and not shuffle:
            raise ConfigError("balance: draws samples, so it needs shuffle")
        rules = Rules(batch_size, shuffle, bucketing, max_rows, last)
        return cls(
            rules=rules,
            crop=Crop.parse(crop, stride, crop_at, modalities),
            balance=label,
            group_batches=bool(group_batches),
            layout=cast(Layout, layout),
            keeps_dtype=dtype == "stored",
            masks_damage=on_damage == "mask",
        )

    def check_last(self, num_units: int) -> None:
        """Check that `drop` leaves a batch.

        Raises:
            ConfigError: If it does not.
        """
        rules = self.rules
        if rules.last == "drop" and rules.max_rows is None and 0 < num_units < rules.batch_size:
            what = "groups" if self.group_batches else "samples"
            raise ConfigError(
                f"last: drop leaves no batch of {num_units} {what} at batch_size {rules.batch_size}"
            )

    def text(self, groups: Integers | None) -> str:
        """Return as JSON what decides which samples and rows are in which batch.

        Only what is not the default, so that states of streams without these settings stay valid.

        Args:
            groups: The group of each sample, where batches hold whole groups.
        """
        rules, crop = self.rules, self.crop
        found: dict[str, object] = {}
        if rules.bucketing != "none":
            found["bucketing"] = rules.bucketing
        if rules.max_rows is not None:
            found["max_rows"] = rules.max_rows
        if rules.last != "short":
            found["last"] = rules.last
        if self.balance is not None:
            found["balance"] = self.balance
        if self.group_batches and groups is not None:
            sha256 = hashlib.sha256(groups.tobytes()).hexdigest()
            found["group_batches"] = f"groups {sha256[:16]}"
        if crop.is_cropping:
            found["crop"] = crop.rows
            found["crop_at"] = crop.at
        if set(crop.strides) - {1}:
            found["stride"] = crop.strides
        return json.dumps(found, sort_keys=True) if found else ""
