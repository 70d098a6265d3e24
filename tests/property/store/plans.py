"""Drawn streams: views of ragged samples, and every setting that decides what a batch holds."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scfae.store import FeatureStream, MemoryView

MODALITIES = ("video", "audio", "text")
DIMS = {"video": 3, "audio": 2, "text": 1}
POLICIES = (
    "none",
    "bernoulli:0.3",
    "bernoulli:1",
    "bernoulli:audio=0.3,text=0.9",
    "subsets",
    "subsets:audio=1,audio+video=3",
    "only:audio",
    "only:text,video",
    "rate:0.4",
    "schedule:0:subsets,1:bernoulli:0.5",
)

Features = dict[str, list[Any]]


def make_view(num_samples: int, shard_size: int, seed: int, *, order: str = "given") -> MemoryView:
    """Return samples of 0 to 3 rows a modality, some without any; their content follows the id."""
    numbers = list(range(num_samples))
    if order == "reversed":
        numbers.reverse()
    lengths = np.random.default_rng([seed, 1]).integers(0, 4, size=(num_samples, len(MODALITIES)))
    features: Features = {m: [] for m in MODALITIES}
    for i in numbers:
        for column, m in enumerate(MODALITIES):
            shape = (int(lengths[i, column]), DIMS[m])
            rows = np.random.default_rng([seed, 2, i, column]).normal(size=shape)
            features[m].append(rows.astype(np.float16 if m == "audio" else np.float32))
    labels: dict[str, list[Any]] = {
        "digit": [i % 7 for i in numbers],
        "score": [i / 3 for i in numbers],
        "word": [f"w{i % 3}" for i in numbers],
    }
    return MemoryView(
        [f"s{i}" for i in numbers],
        features,
        labels=labels,
        groups=[f"g{i * i % 11}" if i % 5 else None for i in numbers],
        shard_size=shard_size,
    )


@dataclass(frozen=True)
class Plan:
    """A drawn stream: what decides its order, and a view to read."""

    num_samples: int
    shard_size: int
    batch_size: int
    seed: int
    masking: str
    window_shards: int | None
    shuffle: bool
    options: dict[str, Any] = field(default_factory=dict)

    def view(self) -> MemoryView:
        return make_view(self.num_samples, self.shard_size, self.seed % 5)

    def stream(self, view: Any = None, **changes: Any) -> FeatureStream:
        settings: dict[str, Any] = {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "masking": self.masking,
            "window_shards": self.window_shards,
            "shuffle": self.shuffle,
            "prefetch": 0,
            **self.options,
        }
        return FeatureStream(self.view() if view is None else view, **(settings | changes))


plans = st.builds(
    Plan,
    num_samples=st.integers(0, 40),
    shard_size=st.integers(1, 9),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 2**63 - 1),
    masking=st.sampled_from(POLICIES),
    window_shards=st.none() | st.integers(1, 6),
    shuffle=st.booleans(),
)


def _settled(plan: Plan) -> Plan:
    """Return the plan without what contradicts the rest of it."""
    options = dict(plan.options)
    if options["group_batches"] or options["bucketing"] != "none" or not plan.shuffle:
        options["balance"] = "none"
    num_units = plan.num_samples
    if options["group_batches"]:
        num_units = len(set(plan.view().group_of.tolist()))
    if num_units < plan.batch_size and options["last"] == "drop":
        options["last"] = "short"
    return replace(plan, options=options)


options = st.fixed_dictionaries(
    {
        "bucketing": st.sampled_from(["none", "length"]),
        "max_rows": st.none() | st.integers(1, 60),
        "last": st.sampled_from(["short", "drop", "wrap", "pad"]),
        "balance": st.sampled_from(["none", "digit", "word"]),
        "group_batches": st.booleans(),
        "crop": st.none() | st.integers(1, 3) | st.just({"audio": 1}),
        "crop_at": st.sampled_from(["random", "center"]),
        "stride": st.none() | st.integers(1, 2),
    }
)
plans_with_options = st.builds(
    lambda plan, chosen: _settled(replace(plan, options=chosen)), plans, options
)
