"""`scfae submit`: a job for a training service; `scfae submit train` takes the flags of `train`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json, say
from .runs import line_of

if TYPE_CHECKING:
    from scfae.service.views import Checked

EXAMPLE = """\
  scfae submit train.yaml --name first --set lr=1e-3 seed=2
  scfae submit train.yaml --dry-run --measure
  scfae submit job.json            # {"job": {"kind": "evaluate", "run": "3f2a9c01b7de"}}

A YAML file holds the settings of a training, as for scfae train, without `run`. A JSON file holds
a whole request: {"job": {"kind": K, …}} with K one of train, sweep, evaluate, extract, derive,
predict-batch, reproduce. Stores and media are named as the service sees them: below its
--store-root and --media-root, or from the folder that it was started in.
"""


@dataclass(frozen=True)
class SubmitArguments:
    """Submit a job to a training service; prints its id."""

    file: Annotated[Path, tyro.conf.Positional]
    """Settings of a training (.yaml), or a whole request (.json)."""
    name: str = ""
    """What people call it."""
    tags: tuple[str, ...] = ()
    """Words to find it by."""
    priority: int = 0
    """Higher ones start first, from -100 to 100."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE …")] = ()
    """Settings of the training that win over the file's."""
    dry_run: bool = False
    """Submit nothing; say what is wrong with it, and what it will take by runs like it."""
    measure: bool = False
    """With --dry-run: have a few steps of it timed on the service's machine."""
    url: str | None = None
    """Where the service is; $SCFAE_SERVICE, or this machine, if not given."""
    json: bool = False
    """The job as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(SubmitArguments, "scfae submit", argv, EXAMPLE)

    from scfae.service.client import Client
    from scfae.service.jobs import read_request

    document = _document(flags)
    given = {"name": flags.name, "tags": list(flags.tags), "priority": flags.priority}
    request = read_request(document | {name: value for name, value in given.items() if value})
    if flags.measure and not flags.dry_run:
        raise ConfigError("--measure belongs to --dry-run.")
    with Client(flags.url) as client:
        if flags.dry_run:
            return _told(client.check(request, measure=flags.measure), flags.json)
        job = client.submit(request)
    if flags.json:
        print_json(job.model_dump(mode="json"))
    else:
        print(job.id)
        say(line_of(job))
    return 0


def _told(checked: "Checked", wants_json: bool) -> int:
    """Print what a request would be; return 2 if it cannot be submitted."""
    if wants_json:
        print_json(checked.model_dump(mode="json"))
    if checked.problems:
        raise ConfigError("\n".join(checked.problems))
    if not wants_json:
        facts = (f"{value:,} {name}" for name, value in checked.facts.items())
        said = checked.estimate.said if checked.estimate is not None else ()
        for line in (", ".join(facts), *said, *checked.notes):
            if line:
                print(line)
    return 0


def _document(flags: SubmitArguments) -> dict[str, Any]:
    import yaml

    from scfae.train.config import read_yaml
    from scfae.train.yaml_text import yaml_problem

    is_whole = flags.file.suffix == ".json"
    document = _read_json(flags.file) if is_whole else read_yaml(flags.file)
    if is_whole:
        if flags.set:
            raise ConfigError("--set is for trainings in YAML; a request in JSON is taken whole.")
        return document
    for pair in flags.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: KEY=VALUE is due.")
        try:
            document[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair}: no YAML: {yaml_problem(error)}") from None
    return {"job": {"kind": "train", "config": document}}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no file {file}.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file} holds no mapping.")
    return document
