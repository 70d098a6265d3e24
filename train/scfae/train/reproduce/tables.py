"""The paper's tables as data: rows, columns and figures exactly as printed, with footnotes.

One file a table in `published/`. A row names the method and the options that stand for it here; a
row without a method cannot be rerun and says why; a row without printed figures is ours, and says
in whose place it stands. Letters (`a`, `t`, `v`, `i`) name modalities; what they are is a matter of
the data.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from scfae.store.config import Frozen
from scfae.store.errors import ConfigError

from ..setting_problems import suggest

DatasetName = Literal["activitynet", "fakeavceleb", "mosei"]
FULL = "full"
"""Key of the model that is trained once for all conditions of a row."""


GRADIENT_METRICS = {"gradient_norm": "task_norm", "negative_share": "negative_share"}
"""Figures of training, and what `scfae analyse` calls them."""


class Column(Frozen):
    """A column of figures.

    Attributes:
        head: As printed.
        metrics: What its figures are, by the table's own names; two are printed as `62.7/54.5`.
        conditions: Which letters are shown; of several the mean is taken. None: the task has one.
        is_printed: Whether the paper has it; one that it has not is ours.
    """

    head: str
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    conditions: tuple[str, ...] = ()
    is_printed: bool = True

    @property
    def is_of_gradients(self) -> bool:
        """Whether its figures are of gradients, which no evaluation has."""
        return not set(self.metrics).isdisjoint(GRADIENT_METRICS)


class Row(Frozen):
    """A row of figures.

    Attributes:
        name: As printed, without the citation.
        section: The setting it is printed under, such as `128-128`.
        method: What stands for it in `list_fusions()`; None if it cannot be rerun.
        stands_for: The paper's row in whose place this one of ours is.
        options: Options of the method, modalities as letters.
        settings: Other settings of its run.
        per_condition: Whether its authors train one model for each condition.
        branches: The only branch of SCFAE that is not zeroed at test.
        why: Why it cannot be rerun.
        printed: A figure for each printed column; empty for a row of ours.
    """

    name: str
    section: str = ""
    method: str | None = None
    stands_for: str | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    per_condition: bool = False
    branches: Literal["both", "shared", "specific"] = "both"
    why: str | None = None
    printed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its section and name."""
        return f"{self.section} {self.name}".strip()


Kind = Literal["evaluation", "degradation"]


class Table(Frozen):
    """A table of the paper.

    Attributes:
        name: As `scfae reproduce` takes it.
        number: In the paper; 0 for what stands in its text.
        title: What it is about.
        dataset: What it is of.
        unit: Whether figures are printed as percent or as fractions.
        headline: The column by which methods are compared.
        min_seeds: Seeds that the table is about; it is run with no fewer.
        kind: `evaluation`: figures of runs as they are; `degradation`: of their encoders, probed
            alone, minus those of the encoders trained alone, which the first row of a section is.
        backbones: By section, encoders that will do for each letter, trained with the fusion;
            without any, adapters are.
        columns: In order.
        footnotes: What a reader must know, one sentence or a few each.
        rows: In order.
    """

    name: str
    number: int
    title: str
    dataset: DatasetName
    unit: Literal["percent", "fraction"]
    headline: str
    min_seeds: int = 1
    kind: Kind = "evaluation"
    backbones: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    columns: tuple[Column, ...]
    footnotes: tuple[str, ...] = ()
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _check(self) -> "Table":
        printed = sum(column.is_printed for column in self.columns)
        for row in self.rows:
            if row.printed and len(row.printed) != printed:
                raise ValueError(f"{self.name}: {row.name} has {len(row.printed)} figures")
            if (row.method is None) == (row.why is None):
                raise ValueError(f"{self.name}: {row.name} needs a method, or a reason why not")
        if self.headline not in [column.head for column in self.columns]:
            raise ValueError(f"{self.name}: there is no column {self.headline!r}")
        return self

    def scale(self, metric: str) -> float:
        """Return what a figure is multiplied by to be shown as the table shows it."""
        return 100.0 if self.unit == "percent" and metric not in GRADIENT_METRICS else 1.0

    def digits(self, metric: str) -> int:
        """Return the digits after the point of what is shown."""
        return 1 if self.scale(metric) > 1 else 3

    @property
    def headline_column(self) -> Column:
        """The column by which methods are compared."""
        return next(column for column in self.columns if column.head == self.headline)

    def printed(self, row: Row) -> dict[str, str]:
        """Return what is printed in a row, by column head."""
        heads = [column.head for column in self.columns if column.is_printed]
        return dict(zip(heads, row.printed, strict=True)) if row.printed else {}


TABLES = (
    "table3",
    "table4",
    "table5",
    "table6",
    "table7",
    "table8",
    "table9",
    "table10",
    "table11",
    "table14",
    "seeds-fakeavceleb",
    "seeds-activitynet",
    "adapters",
)
"""Tables of figures that runs have."""


@cache
def read_table(name: str) -> Table:
    """Return one of `TABLES`."""
    return Table.model_validate(read_published(name))


def read_published(name: str) -> Any:
    """Return what a file of `published/` holds."""
    file = resources.files(__package__).joinpath(f"published/{name}.json")
    return json.loads(file.read_text(encoding="utf-8"))


COSTS = ("table12", "table13")
"""Tables of what SCFAE costs, which need no data."""
FIGURE = "fig4"
"""The paper's figure of gradients and features."""
SEVERAL = {
    "seeds": ("seeds-fakeavceleb", "seeds-activitynet"),
    "all": (*TABLES[:9], *COSTS, *TABLES[9:], FIGURE),
}
"""Names that stand for several."""


def datasets_of(name: str) -> tuple[DatasetName, ...]:
    """Return the data sets that a table, or the figure, is of."""
    if name in COSTS:
        return ()
    if name == FIGURE:
        return ("fakeavceleb", "mosei")
    return (read_table(name).dataset,)


def table_names(asked: Sequence[str]) -> list[str]:
    """Return the tables that names stand for, each once.

    Raises:
        ConfigError: A name is unknown.
    """
    found: dict[str, None] = {}
    known = (*TABLES, *COSTS, FIGURE, *SEVERAL)
    for name in asked:
        if name not in known:
            hint = suggest(name, known)
            raise ConfigError(f"{name}: no such table.{hint} There are: {', '.join(known)}.")
        found.update(dict.fromkeys(SEVERAL.get(name, (name,))))
    return list(found)
