"""`scfae promote` and `scfae models`: the models of a training service."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from .arguments import parse, print_json
from .runs import ServiceFlags

if TYPE_CHECKING:
    from scfae.service.model_views import ModelVersion


@dataclass(frozen=True, kw_only=True)
class PromoteArguments(ServiceFlags):
    """Make a run the next version of a model; its job cannot be deleted from then on."""

    run: Annotated[str, tyro.conf.Positional]
    """The id of the job that trained it; with / and the run's folder for a run of a sweep."""
    name: Annotated[str, tyro.conf.Positional]
    """Of the model; a new one begins with version 1."""
    note: str = ""
    """Why; kept with the version."""


@dataclass(frozen=True, kw_only=True)
class ModelsArguments(ServiceFlags):
    """List the models of a service, or the versions of one, the newest first."""

    model: Annotated[str | None, tyro.conf.Positional] = None
    """One model's name; all if not given."""


def run(argv: Sequence[str]) -> int:
    """Run `scfae models`; return its exit status."""
    flags = parse(ModelsArguments, "scfae models", argv, "  scfae models\n  scfae models fakes")

    from scfae.service.client import Client

    with Client(flags.url) as client:
        if flags.model is not None:
            detail = client.model(flags.model)
            if flags.json:
                print_json(detail.model_dump(mode="json"))
            for version in () if flags.json else detail.versions:
                print(line_of(version))
            return 0
        models = client.models()
    if flags.json:
        print_json([one.model_dump(mode="json") for one in models])
    for model in () if flags.json else models:
        print(line_of(model.newest))
    return 0


def run_promote(argv: Sequence[str]) -> int:
    """Run `scfae promote`; return its exit status."""
    example = "  scfae promote 3f2a9c01b7de fakes --note 'best of the week'"
    flags = parse(PromoteArguments, "scfae promote", argv, example)

    from scfae.service.client import Client

    job, _, member = flags.run.partition("/")
    with Client(flags.url) as client:
        version = client.promote(job, flags.name, member=member or None, note=flags.note)
    if flags.json:
        print_json(version.model_dump(mode="json"))
    else:
        print(f"{version.name} version {version.version}")
    return 0


def line_of(version: "ModelVersion") -> str:
    """Return a version in one line."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.time_s))
    run = version.job if version.member is None else f"{version.job}/{version.member}"
    parts = [version.name, f"version {version.version}", run, when, f"by {version.actor}"]
    figure = version.figure
    if figure is not None and figure.value is not None:
        parts.append(f"{figure.split} {figure.metric} {figure.value:.4f}")
    return "  ".join(parts + ([version.note] if version.note else []))
