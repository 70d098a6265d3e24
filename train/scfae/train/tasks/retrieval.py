"""Cross-modal retrieval: find by one modality what another shows, such as a video by an image.

Each modality is embedded alone: the embedding of an image is `shared_from["image"]`, which nothing
but the image enters. (SCFAE's slot `shared["image"]` is computed from the *next* modality: on
paired data it would find every video by itself.) `check_model` refuses a method whose embedding of
one modality changes with another's content.

Losses: InfoNCE between every two modalities over samples that have both, partners by pair or by
class; or SupCon over the embeddings of all modalities, which also learns from samples that have
only one.

Every ordered pair of modalities is a condition, `image>video`. A sample is relevant to another of
its class; a query's own sample (or group, such as the source video of a frame) is taken out of its
list, for it would be found by being the same recording. With `relevance=pair` it alone is relevant.

Shapes: B samples, N of a split, E features of an embedding.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, JsonValue
from torch import Tensor, nn

from scfae.fusion import FusionOutput
from scfae.fusion.losses import info_nce, sup_con
from scfae.store import Batch, StoreView
from scfae.store.errors import ConfigError, TaskError

from ..bootstrap import mean_intervals
from ..metrics import AP_NORMS, Metrics, Ranking, rank_exactly
from ..metrics.retrieval import query_figures
from .labels import class_codes
from .task import Array, Encode, Measured, Scored, Task, TaskOptions, Trial, checked_options, refuse

_CHECK_SIZE = 3


class RetrievalOptions(TaskOptions):
    """Settings of retrieval."""

    loss: Literal["infonce", "supcon"] = "infonce"
    """InfoNCE between two modalities, or SupCon over the embeddings of all."""
    positives: Literal["class", "pair"] = "class"
    """Partners in InfoNCE: samples of the same class, or each sample's own other modality."""
    temperature: Annotated[float, Field(gt=0)] = 0.07
    """Cosines are divided by it in the loss."""
    relevance: Literal["class", "pair"] = "class"
    """What a query is to find: samples of its class, or its own sample."""
    exclude: Literal["sample", "group", "none"] = "sample"
    """What is taken out of a query's list: its own sample, its group, or nothing."""
    ap_norm: Literal["hits", "min_rk", "r"] = "hits"
    """What AP@K is divided by: hits in the top K, min(R, K), or R, the relevant ones in all."""
    distance: Literal["cos", "l2"] = "cos"
    """Rank by cosine or by Euclidean distance."""
    map_at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (
        10,
        20,
        50,
        100,
    )
    """Places K of mAP@K; the first is the headline."""
    recall_at: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 10)
    """Places K of R@K."""


@dataclass(frozen=True)
class Retrieval(Task):
    """Find by one modality what another shows.

    Attributes:
        label: Label column; samples of one class are relevant to each other.
        modalities: The run's modalities, in order.
        options: See `RetrievalOptions`.
    """

    name: ClassVar[str] = "retrieval"
    Options: ClassVar[type[TaskOptions]] = RetrievalOptions
    baseline_name: ClassVar[str] = "a random order"
    label: str
    modalities: tuple[str, ...]
    options: RetrievalOptions = field(default_factory=RetrievalOptions)

    @classmethod
    def fit(
        cls,
        train: StoreView,
        label: str,
        *,
        class_weights: str = "none",
        modality_labels: Mapping[str, str] | None = None,
        options: Mapping[str, JsonValue] | None = None,
    ) -> Self:
        """Check the labels of the training split.

        Args:
            train: The training split.
            label: Label column with ints or strings.
            class_weights: `none`.
            modality_labels: None: the label is that of all modalities.
            options: See `RetrievalOptions`.

        Raises:
            TaskError: The labels are continuous, or all the same.
            ConfigError: There is one modality only, or settings contradict each other.
        """
        refuse(cls.name, class_weights=class_weights, modality_labels=modality_labels)
        asked: RetrievalOptions = checked_options(cls, options)
        if len(train.modalities) < 2:
            raise ConfigError(
                "columns: retrieval finds by one modality what another shows; name two columns."
            )
        if asked.relevance == "pair" and asked.exclude != "none":
            if "exclude" in asked.model_fields_set:
                raise ConfigError(
                    "task_options.exclude: with relevance = pair the query's own sample is what "
                    "is looked for; leave exclude out."
                )
            asked = asked.model_copy(update={"exclude": "none"})
        _check_classes(train, label)
        if len(np.unique(class_codes(train, label))) < 2:
            raise TaskError(f"the training split has only one class in '{label}'; two are needed.")
        return cls(label, train.modalities, asked)

    @classmethod
    def possible_metrics(cls, options: Any) -> tuple[str, ...]:
        """Return the figures at the K that the options name."""
        return cls("", (), options).metric_names

    @property
    def num_outputs(self) -> None:
        """None: no head."""
        return None

    @property
    def metric_names(self) -> tuple[str, ...]:
        """mAP@K, R@K, and mAP@K by each of the three normalisers."""
        norms = [f"map_{norm}@{k}" for norm in AP_NORMS for k in self.options.map_at]
        return (*self.shown_metrics, *norms)

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """mAP@K by the chosen normaliser, and R@K."""
        maps = tuple(f"map@{k}" for k in self.options.map_at)
        return (*maps, *(f"r@{k}" for k in self.options.recall_at))

    @property
    def headline(self) -> str:
        """MAP at the first K."""
        return f"map@{self.options.map_at[0]}"

    @property
    def selection(self) -> str:
        """MAP at the first K, mean over the directions."""
        return self.headline

    def encoder(self, view: StoreView) -> Encode:
        """Return the mapping from a view's batches to (class, source), int64 [B, 2].

        Raises:
            TaskError: The labels are continuous.
        """
        _check_classes(view, self.label)
        place = {name: i for i, name in enumerate(view.ids.tolist())}
        sources = view.group_of if self.options.exclude == "group" else np.arange(len(view))
        is_pair = self.options.relevance == "pair"

        def encode(batch: Batch, shown: Tensor) -> Tensor:
            places = np.array([place[name] for name in batch.ids], dtype=np.int64)
            own = torch.from_numpy(sources[places]).to(shown.device)
            classes = torch.from_numpy(places).to(shown.device) if is_pair else None
            if classes is None:
                classes = batch.labels[self.label].long()
            return torch.stack([classes, own], dim=1)

        return encode

    def method_labels(self, targets: Tensor) -> Tensor:
        """Return the classes int64 [B]."""
        return targets[:, 0]

    def check_model(self, model: nn.Module, dims: Mapping[str, int], fusion: str) -> None:
        """Check that a method embeds each modality alone, and all in one space.

        Raises:
            ConfigError: If it does not.
        """
        model.eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            here = {m: torch.randn(_CHECK_SIZE, 1, dim) for m, dim in dims.items()}
            own = model(here).shared_from
            lacking = [m for m in dims if m not in own]
            if lacking:
                raise ConfigError(
                    f"fusion = {fusion!r} gives no embedding of {', '.join(lacking)} alone, which "
                    "retrieval needs: choose scfae, cmmp or another that `scfae fusions` lists "
                    "for retrieval."
                )
            widths = {m: own[m].shape[1] for m in dims}
            if len(set(widths.values())) > 1:
                raise ConfigError(
                    f"fusion = {fusion!r} embeds modalities in spaces of {widths}; retrieval "
                    "needs one."
                )
            for changed in dims:
                others = model(here | {changed: torch.randn(_CHECK_SIZE, 1, dims[changed])})
                for m in dims:
                    if m != changed and not torch.equal(own[m], others.shared_from[m]):
                        raise ConfigError(
                            f"fusion = {fusion!r}: its embedding of {m} holds evidence of "
                            f"{changed}, which would find each sample by itself; retrieval "
                            "refuses it."
                        )

    def loss(self, output: FusionOutput, targets: Tensor, present: Tensor) -> Tensor:
        """Return InfoNCE, the mean over pairs of modalities, or SupCon over all embeddings."""
        embeddings = [output.shared_from[m].float() for m in self.modalities]
        classes = targets[:, 0]
        options = self.options
        if options.loss == "supcon":
            return sup_con(
                torch.cat(embeddings),
                classes.repeat(len(embeddings)),
                temperature=options.temperature,
                valid=present.T.flatten(),
            )
        losses = [
            info_nce(
                embeddings[a],
                embeddings[b],
                temperature=options.temperature,
                valid=present[:, a] & present[:, b],
                labels=classes if options.positives == "class" else None,
            )
            for a, b in itertools.combinations(range(len(embeddings)), 2)
        ]
        return torch.stack(losses).mean()

    def scores(self, output: FusionOutput, shown: Sequence[str]) -> Tensor:
        """Return the embedding [B, E] of the one modality that was shown."""
        (modality,) = shown
        return output.shared_from[modality].float()

    def predict(self, output: FusionOutput, shown: Sequence[str]) -> dict[str, Any]:
        """Return the embedding of each modality that one sample has."""
        return {"embeddings": {m: output.shared_from[m][0].float().tolist() for m in shown}}

    def trials(self, branches: Sequence[str]) -> list[Trial]:
        """Return every ordered pair of modalities, or of branches: each has its own embedding."""
        pairs = itertools.permutations(branches, 2)
        return [Trial(f"{query}>{gallery}", ((query,), (gallery,))) for query, gallery in pairs]

    def validation_trials(self, branches: Sequence[str]) -> list[Trial]:
        """Return every ordered pair of modalities."""
        return self.trials(branches)

    def measure(
        self, trial: Trial, scored: Mapping[tuple[str, ...], Scored], draws: int
    ) -> Measured:
        """Return the figures of finding the second modality by the first."""
        queries, gallery = (scored[shown] for shown in trial.shown)
        count, left_out = int(queries.seen.sum()), int((~queries.seen).sum())
        if not count or not gallery.seen.any():
            nothing: Metrics = dict.fromkeys(self.metric_names)
            return Measured(nothing, dict.fromkeys(nothing), count, left_out, nothing)
        figures = self._figures(self.rank(trial, scored))
        return Measured(
            {name: float(figures[name].mean()) for name in self.metric_names},
            mean_intervals(figures, resamples=draws),
            count,
            left_out,
            self._random_order(queries, gallery),
        )

    def rank(self, trial: Trial, scored: Mapping[tuple[str, ...], Scored]) -> Ranking:
        """Return what each query of a trial finds, among the samples that have the modality."""
        queries, gallery = (scored[shown] for shown in trial.shown)
        return self._rank(
            queries, gallery, queries.scores[queries.seen], gallery.scores[gallery.seen]
        )

    def query_figures(
        self, trial: Trial, scored: Mapping[tuple[str, ...], Scored]
    ) -> dict[str, Array]:
        """Return each figure of each query of a trial, whose means are the metrics."""
        return self._figures(self.rank(trial, scored))

    def metrics(self, targets: Array, scores: Array) -> Metrics:
        """Refuse: retrieval is measured between two modalities, by `measure`."""
        raise TaskError("retrieval is measured between two modalities.")

    def constant(self, shown: Sequence[str]) -> Array:
        """Refuse: the baseline of retrieval is a random order."""
        raise TaskError("retrieval has no constant answer.")

    @property
    def constant_answer(self) -> str:
        """A random order."""
        return "a random order"

    def as_dict(self) -> dict[str, Any]:
        """Return the task as plain JSON values."""
        return {
            "name": self.name,
            "label": self.label,
            "modalities": list(self.modalities),
            "options": self.options.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return the task that `as_dict` described."""
        options = RetrievalOptions.model_validate(record["options"])
        return cls(record["label"], tuple(record["modalities"]), options)

    def _rank(self, queries: Scored, gallery: Scored, asked: Array, held: Array) -> Ranking:
        mine, others = queries.targets[queries.seen], gallery.targets[gallery.seen]
        is_excluding = self.options.exclude != "none"
        return rank_exactly(
            asked,
            held,
            mine[:, 0],
            others[:, 0],
            k=max(*self.options.map_at, *self.options.recall_at),
            distance=self.options.distance,
            query_sources=mine[:, 1] if is_excluding else None,
            gallery_sources=others[:, 1] if is_excluding else None,
        )

    def _figures(self, ranking: Ranking) -> dict[str, Array]:
        return query_figures(
            ranking,
            norm=self.options.ap_norm,
            map_at=self.options.map_at,
            recall_at=self.options.recall_at,
        )

    def _random_order(self, queries: Scored, gallery: Scored) -> Metrics:
        random = np.random.default_rng(0)
        asked = random.normal(size=(int(queries.seen.sum()), 8))
        held = random.normal(size=(int(gallery.seen.sum()), 8))
        figures = self._figures(self._rank(queries, gallery, asked, held))
        return {name: float(values.mean()) for name, values in figures.items()}


def _check_classes(view: StoreView, label: str) -> None:
    if view.label(label).kind == "float":
        raise TaskError(f"'{label}' is continuous; retrieval needs classes: ints or strings.")
