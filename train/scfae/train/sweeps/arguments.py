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
from ..config import flatten, read_yaml, suggest
from .plan import SweepPlan, grid_of, normal_key

EXAMPLE = """\
example:
  scfae sweep experiment.yaml --seeds 1 2 3 --run sweeps/seeds
  scfae sweep experiment.yaml --seeds 1 2 3 --grid lr=1e-3,3e-4 fusion=scfae,concat \\
      --jobs 2 --run sweeps/grid
  scfae sweep --resume sweeps/grid                            # go on after a stop or a kill

--run is the sweep's folder; every run is an ordinary run folder in it. The same command again goes
on too; with further seeds or values it runs only what is new. The YAML file may hold what varies:

  sweep:
    seeds: [1, 2, 3]
    grid: {lr: [1e-3, 3e-4], columns.video: [dinov3-vits16, videomaev2-s]}

or, in place of a grid, `settings:`, a list of settings to try. Several runs at a time share the
machine's threads: OMP_NUM_THREADS=1 gives each its own."""

SECTION = "sweep"
KEYS = ("seeds", "grid", "settings")


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
        varied = {key: getattr(parsed, key) for key in ("seeds", "grid")}
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
    flat.pop("seed", None)
    plan = SweepPlan(flat, _settings(parsed.grid, section), tuple(map(_seed, seeds)))
    return SweepRequest(folder, plan, **common)


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


def _settings(
    grid: Mapping[str, Any] | None, section: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    listed = section.get("settings")
    if grid is None and listed is not None:
        if "grid" in section:
            raise ConfigError(f"{SECTION}: either grid or settings, not both.")
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise ConfigError(f"{SECTION}.settings: a list of mappings of settings is due.")
        return tuple(dict(one) for one in listed)
    if grid is not None:
        return grid_of({normal_key(key): axis_values(key, value) for key, value in grid.items()})
    written = section.get("grid") or {}
    if not isinstance(written, Mapping):
        raise ConfigError(f"{SECTION}.grid: a mapping of lists is due.")
    return grid_of({normal_key(str(key)): values for key, values in written.items()})


def axis_values(key: str, value: Any) -> list[Any]:
    """Return the values of an axis as the command line spells them: `1e-3,3e-4`, or a JSON list."""
    if isinstance(value, list):
        return value
    parts = value.split(",") if isinstance(value, str) else [json.dumps(value)]
    # An entry of a mapping takes any plain value; a setting knows its own type.
    return [word_value(part) for part in parts] if "." in normal_key(key) else list(parts)


def _seed(seed: Any) -> int:
    try:
        return int(seed)
    except (TypeError, ValueError):
        raise ConfigError(f"seeds: {seed!r} is no whole number.") from None


def _whole_numbers(text: str) -> Any:
    spec = PrimitiveConstructorSpec[Any](
        nargs="*",
        metavar="INT …",
        instance_from_str=lambda typed: [int(word) for word in typed],
        is_instance=lambda value: value is None or isinstance(value, list),
        str_from_instance=lambda value: [str(one) for one in value or []],
    )
    return Annotated[Any, spec, tyro.conf.arg(help=text, help_behavior_hint="(default: the seed)")]
