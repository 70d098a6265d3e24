"""What a sweep is to run: every setting with every seed, each cell an ordinary run.

A cell's folder is named by what varies in it, e.g. `lr=0.001,masking=none,seed=2`. The plan is
plain data: it is kept in the sweep's folder, and a job can carry it elsewhere.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scfae.store.config import digest
from scfae.store.errors import ConfigError

from ..config import RunConfig, flatten, load_config
from ..settings import GROUP_OF, GROUPS
from .space import Search, dimension

LONGEST_NAME = 120
"""File systems take 255 bytes; a person reads fewer."""
_PLACE = "sweep"  # stands for the run's folder until the cell has a name


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep.

    Attributes:
        name: Of its folder in the sweep's folder.
        setting: What varies, seed aside: `{"lr": 0.001, "columns.video": "dinov3-vits16"}`.
        seed: Its seed.
        config: Every setting of the run; `loop.run` is its folder.
    """

    name: str
    setting: dict[str, Any]
    seed: int
    config: RunConfig


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Settings times seeds.

    Attributes:
        base: Settings that all runs share, flat or in their groups; `run` and `seed` are not read.
        settings: What each setting has of its own. A key is a setting of the config, with its
            group or without (`optim.lr`, `lr`), or an entry of one (`columns.video`).
        seeds: Each setting is trained once with each.
        search: What proposes the settings, if they are not given; they are then those so far.
    """

    base: Mapping[str, Any]
    settings: tuple[Mapping[str, Any], ...] = ({},)
    seeds: tuple[int, ...] = (1,)
    search: Search | None = None

    def probe(self) -> "SweepPlan":
        """Return a plan of settings to check: its own, or of a search the ends of the ranges."""
        if self.search is None:
            return self
        return SweepPlan(self.base, self.search.corners(), self.seeds)

    def cells(self, folder: Path) -> list[Cell]:
        """Return the runs in order: the seeds of the first setting first.

        Raises:
            ConfigError: Names each setting that cannot be used, and why.
        """
        _check_seeds(self.seeds)
        problems: list[str] = []
        cells: dict[str, Cell] = {}
        for setting in self.settings:
            try:
                own = _normal(setting)
                config = self.config_of(own)
            except ConfigError as error:
                shown = ", ".join(f"{key}={value}" for key, value in setting.items())
                problems.append(f"[{shown}] {error}" if shown else str(error))
                continue
            resolved = {key: _value_at(config, key) for key in own}
            for seed in self.seeds:
                name = cell_name(resolved, seed)
                placed = config.with_loop(seed=seed, run=str(folder / name))
                cells.setdefault(name, Cell(name, resolved, seed, placed))
        if problems:
            raise ConfigError("\n".join(problems))
        return list(cells.values())

    def config_of(self, setting: Mapping[str, Any]) -> RunConfig:
        """Return the config of one setting, its seed and place aside.

        Args:
            setting: Keys without their groups.

        Raises:
            ConfigError: It cannot be used.
        """
        problems: list[str] = []
        flat = flatten(self.base, problems)
        if problems:
            raise ConfigError("the config cannot be used:\n  " + "\n  ".join(problems))
        for key, value in setting.items():
            name, _, entry = key.partition(".")
            flat[name] = {**(flat.get(name) or {}), entry: value} if entry else value
        return load_config(None, flat | {"run": _PLACE, "seed": 1})

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {
            "base": dict(self.base),
            "settings": [dict(one) for one in self.settings],
            "seeds": list(self.seeds),
            **({} if self.search is None else {"search": self.search.as_dict()}),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "SweepPlan":
        """Return the plan that `as_dict` gave."""
        search = Search(**record["search"]) if "search" in record else None
        return cls(record["base"], tuple(record["settings"]), tuple(record["seeds"]), search)


def grid_of(axes: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Return every combination of the axes' values; the last axis changes fastest.

    Raises:
        ConfigError: An axis has no value.
    """
    for key, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ConfigError(f"grid: {key} = {values!r}: a list of values is due.")
    return tuple(
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    )


def search_plan(
    base: Mapping[str, Any], space: Mapping[str, Any], seeds: tuple[int, ...], trials: int
) -> SweepPlan:
    """Return the plan of a search.

    Raises:
        ConfigError: A range or a list of choices cannot be.
    """
    named = _normal(space)
    checked = {key: dimension(key, given) for key, given in named.items()}
    return SweepPlan(base, (), seeds, Search(checked, trials))


def normal_key(key: str) -> str:
    """Return a setting's key without its group.

    Raises:
        ConfigError: There is no such setting, or a sweep sets it itself.
    """
    first, _, rest = key.partition(".")
    name = rest if first in GROUPS and rest else key
    field = name.partition(".")[0]
    if field == "run":
        raise ConfigError("run: the sweep's folder holds its runs; it is no setting to vary.")
    if field == "seed":
        raise ConfigError("seed: give seeds by --seeds, so that figures become means over them.")
    problems: list[str] = []
    flatten({field: None}, problems)
    if problems:
        raise ConfigError(problems[0].replace(f"{field} = None", key, 1))
    if first in GROUPS and rest and GROUP_OF[field] != first:
        raise ConfigError(f"{key}: {field} is a setting of {GROUP_OF[field]}, not of {first}.")
    return name


def cell_name(setting: Mapping[str, Any], seed: int) -> str:
    """Return the folder's name; a digest follows where a value cannot be written out whole."""
    whole = ",".join(f"{key}={_word(value)}" for key, value in {**setting, "seed": seed}.items())
    short = ",".join(f"{key}={shown(value)}" for key, value in {**setting, "seed": seed}.items())
    name = re.sub(r"[^A-Za-z0-9._+:=,-]+", "-", short)
    if name == whole and len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{digest([dict(setting), seed])[:8]}"


def shown(value: Any) -> str:
    """Return a value as a person reads it: what a search has drawn has 17 digits."""
    return f"{value:.4g}" if isinstance(value, float) else _word(value)


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return "+".join(f"{key}:{_word(inner)}" for key, inner in value.items()) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _normal(setting: Mapping[str, Any]) -> dict[str, Any]:
    normal: dict[str, Any] = {}
    for key, value in setting.items():
        name = normal_key(str(key))
        if name in normal:
            raise ConfigError(f"{name}: given twice, {normal[name]!r} and {value!r}; keep one.")
        normal[name] = value
    return normal


def _value_at(config: RunConfig, key: str) -> Any:
    name, _, entry = key.partition(".")
    value = config.flat()[name]
    return value[entry] if entry else value


def _check_seeds(seeds: Sequence[int]) -> None:
    def wrong() -> Iterator[str]:
        for seed in seeds:
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
                yield f"seeds: {seed!r} is no whole number from 0 to 2**32 - 1."
        if not seeds:
            yield "seeds: at least one is due."

    for problem in wrong():
        raise ConfigError(problem)
