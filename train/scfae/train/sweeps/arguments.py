"""The flags of `scfae sweep`: those of `scfae train`, and what varies; nothing imports torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from scfae.store.errors import ConfigError

from ..arguments import mapping, parse_settings, refuse_beside_resume, word_value, words
from ..config import flatten, read_yaml
from ..setting_problems import suggest
from .plan import SweepPlan, grid_of, normal_key, search_plan
from .space import KINDS, TRIALS

EXAMPLE = """\
example:
  scfae sweep experiment.yaml --seeds 1 2 3 --run sweeps/seeds
  scfae sweep experiment.yaml --seeds 1 2 3 --grid lr=1e-3,3e-4 fusion=scfae,concat \\
      --jobs 2 --run sweeps/grid
  scfae sweep experiment.yaml --search lr=log:1e-4:1e-2 fusion=scfae,concat --trials 20 \\
      --run sweeps/search                                     # needs: pip install 'scfae[optuna]'
  scfae sweep --resume sweeps/grid                            # go on after a stop or a kill

--run is the sweep's folder; every run is an ordinary run folder in it. The same command again goes
on too; with further seeds or values it runs only what is new. The YAML file may hold what varies:

  sweep:
    seeds: [1, 2, 3]
    grid: {lr: [1e-3, 3e-4], columns.video: [dinov3-vits16, videomaev2-s]}

or, in place of a grid, `settings:`, a list of settings to try, or `search:`, as
`{lr: {log: [1e-4, 1e-2]}, fusion: [scfae, concat]}`, and `trials:`. Several runs at a time share
the machine's threads, and give the same figures as one at a time."""

SECTION = "sweep"
KEYS = ("seeds", "grid", "settings", "search", "trials")
WAYS = ("grid", "settings", "search")


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What `scfae sweep …` asks for.

    Attributes:
        folder: Of the sweep.
        plan: What is to be run; None goes on with what was asked last.
        jobs: Runs at a time.
        bootstrap: Resamples behind the intervals of evaluations.
        json: Whether the result goes to stdout as JSON.
    """

    folder: Path
    plan: SweepPlan | None
    jobs: int
    bootstrap: int
    json: bool


def parse_sweep_args(argv: Sequence[str]) -> SweepRequest:
    """Return what `scfae sweep …` asks for.

    Args:
        argv: The words after `scfae sweep`.

    Raises:
        ConfigError: A setting is unknown, missing or not allowed.
        SystemExit: 0 after --help, 2 for a flag that does not exist.
    """
    parsed, given = parse_settings(
        argv,
        prog="scfae sweep",
        description=f"Train many runs into one folder and compare them.\n\n{EXAMPLE}",
        resume=(words("SWEEP", "(optional)", "Go on with this sweep."), None),
        seeds=(_whole_numbers("Train every setting once with each of these seeds."), None),
        grid=(
            mapping(
                "(optional)",
                "Values of settings, combined in every way; a JSON list where a value has commas.",
                "KEY=VALUE,VALUE …",
            ),
            None,
        ),
        search=(
            mapping(
                "(optional)",
                "Ranges and choices that Optuna proposes from: uniform, log, int and log-int.",
                "KEY=KIND:LOW:HIGH|VALUE,VALUE …",
            ),
            None,
        ),
        trials=(words("INT", "(default: 20)", "How many settings a search tries."), None),
        jobs=(
            Annotated[int, tyro.conf.arg(help="Runs at a time, each a process of its own.")],
            1,
        ),
        bootstrap=(
            Annotated[int, tyro.conf.arg(help="Resamples behind each 95 % interval.")],
            1000,
        ),
        json=(
            Annotated[
                bool,
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.arg(help="The result as one JSON document on stdout."),
            ],
            False,
        ),
    )
    common = {"jobs": parsed.jobs, "bootstrap": parsed.bootstrap, "json": parsed.json}
    if parsed.resume is not None:
        varied = {key: getattr(parsed, key) for key in ("seeds", "grid", "search", "trials")}
        varied = {key: value for key, value in varied.items() if value is not None}
        refuse_beside_resume(parsed, given | varied, "sweep")
        return SweepRequest(Path(parsed.resume), None, **common)
    settings: dict[str, Any] = {}
    section: dict[str, Any] = {}
    if parsed.config is not None:
        settings = read_yaml(Path(parsed.config))
        section = _section(settings.pop(SECTION, {}), parsed.config)
    problems: list[str] = []
    flat = flatten(settings, problems) | given
    if "run" not in flat:
        problems.append("run: missing. It is: Folder of the sweep")
    if problems:
        raise ConfigError("the config cannot be used:\n  " + "\n  ".join(problems))
    folder = Path(flat.pop("run"))
    seeds = parsed.seeds or section.get("seeds") or [flat.get("seed", 1)]
    if not isinstance(seeds, list):
        raise ConfigError(f"{SECTION}.seeds = {seeds!r}: a list of whole numbers is due.")
    flat.pop("seed", None)
    given_ways = {key: getattr(parsed, key) for key in ("grid", "search")}
    ways = {key: way for key, way in given_ways.items() if way is not None}
    ways = ways or {key: section[key] for key in WAYS if key in section}
    if len(ways) > 1:
        raise ConfigError(f"a sweep has one of {', '.join(WAYS)}, not {' and '.join(ways)}.")
    trials = parsed.trials or section.get("trials")
    if trials is not None and "search" not in ways:
        raise ConfigError("trials: only a search has trials; give it by --search.")
    whole = tuple(_whole("seeds", seed) for seed in seeds)
    plan = _plan(flat, ways, whole, TRIALS if trials is None else _whole("trials", trials))
    return SweepRequest(folder, plan, **common)


def _plan(
    base: Mapping[str, Any], ways: Mapping[str, Any], seeds: tuple[int, ...], trials: int
) -> SweepPlan:
    if "settings" in ways:
        listed = ways["settings"]
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise ConfigError(f"{SECTION}.settings: a list of mappings of settings is due.")
        return SweepPlan(base, tuple(dict(one) for one in listed), seeds)
    way = "search" if "search" in ways else "grid"
    given = ways.get(way, {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"{SECTION}.{way}: a mapping of settings is due.")
    if way == "grid":
        return SweepPlan(base, grid_of({k: axis_values(k, v) for k, v in given.items()}), seeds)
    space = {key: _range_or_choices(key, value) for key, value in given.items()}
    return search_plan(base, space, seeds, trials)


def _section(section: Any, path: str) -> dict[str, Any]:
    if not isinstance(section, Mapping):
        raise ConfigError(f"{path}: {SECTION}: a mapping of {', '.join(KEYS)} is due.")
    for key in section:
        if key not in KEYS:
            raise ConfigError(
                f"{path}: {SECTION}.{key}: no such setting.{suggest(str(key), KEYS)} Known: "
                f"{', '.join(KEYS)}."
            )
    return dict(section)


def axis_values(key: str, value: Any) -> list[Any]:
    """Return the values of an axis as the command line spells them: `1e-3,3e-4`, or a JSON list."""
    if isinstance(value, list):
        return value
    parts = value.split(",") if isinstance(value, str) else [json.dumps(value)]
    # An entry of a mapping takes any plain value; a setting knows its own type.
    return [word_value(part) for part in parts] if "." in normal_key(key) else list(parts)


def _range_or_choices(key: str, value: Any) -> Any:
    is_range = isinstance(value, Mapping) or str(value).partition(":")[0] in KINDS
    return value if is_range else axis_values(key, value)


def _whole(name: str, number: Any) -> int:
    try:
        return int(number)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: {number!r} is no whole number.") from None


def _whole_numbers(text: str) -> Any:
    spec = PrimitiveConstructorSpec[Any](
        nargs="*",
        metavar="INT …",
        instance_from_str=lambda typed: [int(word) for word in typed],
        is_instance=lambda value: value is None or isinstance(value, list),
        str_from_instance=lambda value: [str(one) for one in value or []],
    )
    return Annotated[Any, spec, tyro.conf.arg(help=text, help_behavior_hint="(default: the seed)")]
