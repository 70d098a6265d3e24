"""What is to be run for tables: the runs of every row, each with every seed, each run once.

A run's folder is named by what it is, and by a digest of its settings and of what it reads: so rows
of several tables share a run, and a changed column, label or setting is another run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scfae.store import FeatureStore
from scfae.store.config import digest
from scfae.store.errors import ConfigError

from ..config import RunConfig, load_config
from ..opening import check_method, data_fingerprints
from ..selection import fit_task
from ..setting_problems import suggest
from ..settings import GROUP_OF, DataConfig
from ..splits import make_splits
from ..sweeps.plan import Cell
from .data import Part
from .degradation import ALONE, alone_part, joint_part
from .protocols import Protocol, merged, method_settings, num_models
from .tables import FULL, Row, Table

IDENTITY = ("run", "seed", "store", "columns", "task", "label", "modality_labels", "fusion")
"""Settings that a table decides: no user's."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row and its runs.

    Attributes:
        row: Which.
        cells: A run for each seed, by `FULL` or the condition that the model is for; empty for a
            row that is not run.
        why_not: Why it is not; empty if it is.
    """

    row: Row
    cells: Mapping[str, tuple[Cell, ...]]
    why_not: str = ""

    def cells_for(self, letters: str) -> tuple[Cell, ...]:
        """Return the runs that a condition is read from."""
        return self.cells.get(letters, self.cells.get(FULL, ()))


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """A table and its rows.

    Attributes:
        table: Which.
        part: The data; None if there is none, then nothing is run.
        rows: In order.
    """

    table: Table
    part: Part | None
    rows: tuple[PlannedRow, ...]


class Planner:
    """Plans tables on the data that there are.

    Args:
        folder: Where run folders go.
        protocol: How methods are trained.
        num_seeds: Seeds 1, 2, …
        methods: Only rows of these methods are run; None: all.
        overrides: Settings that win over the protocol's.

    Raises:
        ConfigError: A setting cannot be given, or a method is in no table.
    """

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        *,
        num_seeds: int,
        methods: Sequence[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        if num_seeds < 1:
            raise ConfigError(f"seeds must be at least 1, not {num_seeds}.")
        self._folder, self._protocol = folder, protocol
        self._num_seeds = num_seeds
        self._methods = None if methods is None else set(methods)
        self._overrides = dict(overrides or {})
        for key in self._overrides:
            name = key.partition(".")[0]
            if name not in GROUP_OF:
                raise ConfigError(f"settings.{key}: no such setting.{suggest(name, GROUP_OF)}")
            if name in IDENTITY:
                raise ConfigError(f"settings.{key}: the table decides that.")
        self._fingerprints: dict[str, str] = {}

    @property
    def device(self) -> str:
        """Where everything runs, unless a setting says otherwise: auto."""
        return str(self._overrides.get("device", "auto"))

    def plan(self, table: Table, part: Part | None) -> PlannedTable:
        """Return a table's rows with their runs.

        Raises:
            ConfigError: A setting cannot be used.
            StoreError, TaskError: The data cannot be.
        """
        return PlannedTable(table, part, tuple(self._row(table, part, row) for row in table.rows))

    def _row(self, table: Table, part: Part | None, row: Row) -> PlannedRow:
        if row.method is None:
            return PlannedRow(row, {}, f"cannot be rerun: {row.why}")
        if part is None:
            return PlannedRow(row, {}, f"not run: no data of {table.dataset} were given")
        is_needed = table.kind == "degradation" and row.method == ALONE
        if self._methods is not None and row.method not in self._methods and not is_needed:
            return PlannedRow(row, {}, "not run: its method was not asked for")
        if table.kind == "degradation":
            return self._joint_row(table, part, row)
        keys = [FULL]
        if num_models(self._protocol, row) == "per condition":
            keys = list(dict.fromkeys(one for c in table.columns for one in c.conditions))
        seeds = range(1, max(self._num_seeds, table.min_seeds) + 1)
        if part.task == "retrieval":
            refusal = self._refusal(part, row)
            if refusal is not None:
                return PlannedRow(row, {}, f"cannot be rerun: {refusal}")
        return PlannedRow(row, {key: self._cells(part, row, key, seeds) for key in keys})

    def _joint_row(self, table: Table, part: Part, row: Row) -> PlannedRow:
        """Return a row whose runs train encoders or adapters, each alone or all together."""
        own = joint_part(part, table, row)
        if isinstance(own, str):
            return PlannedRow(row, {}, own)
        seeds = range(1, max(self._num_seeds, table.min_seeds) + 1)
        if row.method != ALONE:
            return PlannedRow(row, {FULL: self._cells(own, row, FULL, seeds)})
        letters = dict.fromkeys(one for column in table.columns for one in column.conditions)
        return PlannedRow(
            row, {one: self._cells(alone_part(own, one), row, one, seeds) for one in letters}
        )

    def _config(self, part: Part, row: Row, key: str) -> tuple[dict[str, Any], RunConfig]:
        """Return the settings of a row's run, and its config but for seed and place."""
        settings = {
            "trackers": [],
            **part.settings(),
            **method_settings(self._protocol, part, row, key),
        }
        own = part.joint if part.encoders else part.training
        fitting = {k: v for k, v in self._overrides.items() if _fits(k, part)}
        asked = merged(merged(settings, own), fitting)
        try:
            return asked, load_config(None, asked | {"run": "run"})
        except ConfigError as error:
            raise ConfigError(f"{row.label}: {error}") from None

    def _refusal(self, part: Part, row: Row) -> str | None:
        """Return why a method cannot do the task, as many cannot embed one modality alone."""
        _, config = self._config(part, row, FULL)
        splits = make_splits(FeatureStore.open(config.data.store), config.data)
        task = fit_task(config, splits)
        try:
            check_method(config, splits, task)
        except ConfigError as error:
            # What follows is advice on settings, which are the table's here.
            return str(error).partition(": choose")[0].removeprefix("fusion = ")
        return None

    def _cells(self, part: Part, row: Row, key: str, seeds: Sequence[int]) -> tuple[Cell, ...]:
        asked, config = self._config(part, row, key)
        data = self._fingerprint(config.data)
        words = [part.dataset, *_words(row, key), self._protocol.name]
        words += ["adapters"] if part.adapters else []
        cells = []
        for seed in seeds:
            seeded = config.with_loop(seed=seed)
            mark = digest([seeded.digest(), data])[:10]
            name = re.sub(r"[^A-Za-z0-9._+=,-]+", "-", ",".join([*words, f"seed={seed}"]))
            name = f"{name}-{mark}"
            placed = seeded.with_loop(run=str(self._folder / name))
            cells.append(Cell(name, asked, seed, placed))
        return tuple(cells)

    def _fingerprint(self, data: DataConfig) -> str:
        """Return the digest of all that a run would read: rows, labels and splits."""
        key = digest(data.model_dump(mode="json"))
        if key not in self._fingerprints:
            store = FeatureStore.open(data.store)
            self._fingerprints[key] = digest(
                data_fingerprints(store, data, make_splits(store, data))
            )
        return self._fingerprints[key]


def all_cells(tables: Sequence[PlannedTable]) -> list[Cell]:
    """Return every run of some tables once, in order."""
    found = {
        cell.name: cell
        for table in tables
        for row in table.rows
        for cells in row.cells.values()
        for cell in cells
    }
    return list(found.values())


def superseded(cells: Sequence[Cell], there: Mapping[Path, RunConfig]) -> dict[str, list[str]]:
    """Return by run the earlier ones with the same settings, which read other data.

    Args:
        cells: What is asked for.
        there: The config of every run in the folder.
    """
    by_settings: dict[str, list[Path]] = {}
    for path, config in there.items():
        by_settings.setdefault(config.digest(), []).append(path)
    asked = {cell.name for cell in cells}
    found = {}
    for cell in cells:
        same = by_settings.get(cell.config.digest(), [])
        others = [path.name for path in same if path.name not in asked]
        if others:
            found[cell.name] = others
    return found


def _fits(key: str, part: Part) -> bool:
    """Return whether an override is of this data: not of an encoder that it does not train."""
    name, _, entry = key.partition(".")
    return name != "encoders" or entry.partition(".")[0] in part.encoders


def _words(row: Row, key: str) -> list[str]:
    """Return what tells a row's runs from another's, for a folder's name."""
    assert row.method is not None
    words = [row.method]
    if row.section:
        words.append(row.section)
    own = {**row.options, **row.settings}
    words += [f"{name}={_word(value)}" for name, value in own.items()]
    if key != FULL:
        words.append(f"for={key}")
    return words


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return "+".join(f"{name}:{_word(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "".join(map(str, value))
    return str(value)
