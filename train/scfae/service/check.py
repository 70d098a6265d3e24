"""What a job would be, found out before it is submitted: for the form of a new run."""

import json
import math
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scfae.store.errors import ConfigError, ScfaeError
from scfae.train.arguments import setting_words
from scfae.train.config import RunConfig, load_config
from scfae.train.yaml_text import to_yaml

from .context import Service
from .estimate import ALIKE, Estimate, Sizes, earlier_steps_s, estimate
from .facts import setting_name
from .jobs import SweepJob, TrainJob, read_request
from .views import Checked

if TYPE_CHECKING:
    from scfae.train.opening import Rehearsal


def check(
    service: Service, document: Mapping[str, Any], url: str, *, measure: bool = False
) -> Checked:
    """Return what is to be said of a request, and how to make it by other means.

    Args:
        service: That it is for.
        document: The request, as it would be posted.
        url: Of the service, for curl.
        measure: Time a few steps of a training that could be submitted; takes seconds.

    Raises:
        ServiceBusy: Another such measurement is being made.
    """
    curl = _curl(document, url)
    try:
        request = read_request(document)
        job = request.checked(service.roots, service.queue.runs).job
    except ScfaeError as error:
        return Checked(problems=_sentences(str(error)), curl=curl)
    if not isinstance(job, TrainJob | SweepJob):
        return Checked(curl=curl, command=shlex.join(["scfae", *job.words(service.queue.folder)]))
    config = load_config(None, {**job.config, "run": "runs/mine"})
    settings = {name: value for name, value in _told(config).items() if name != "run"}
    said: dict[str, Any] = {
        "settings": settings,
        "yaml": _yaml(settings, job),
        "command": _command(config, job),
        "curl": curl,
    }
    from scfae.train.opening import rehearse  # torch comes with it

    try:
        found = rehearse(config)
    except ScfaeError as error:
        return Checked(problems=_sentences(str(error)), **said)
    if isinstance(job, TrainJob) and job.evaluate and not found.sizes["test"]:
        empty = "evaluate: no sample is left to test on; leave the evaluation out, or make a split"
        return Checked(problems=(f"{empty} {config.data.test_split}.",), **said)
    facts = {f"{name} samples": size for name, size in found.sizes.items()}
    facts |= {"parameters": found.num_parameters, "bytes a row": found.row_bytes}
    try:
        foreseen = _foreseen(service, config, job, found, measure)
    except ConfigError as error:  # of the measurement: the training would fail likewise
        return Checked(problems=_sentences(str(error)), **said)
    return Checked(notes=found.notes, facts=facts, estimate=foreseen, **said)


def _foreseen(
    service: Service,
    config: RunConfig,
    job: TrainJob | SweepJob,
    found: "Rehearsal",
    measure: bool,
) -> Estimate:
    runs, is_alike = 1, True
    if isinstance(job, SweepJob):
        runs = max(1, len(job.seeds)) * math.prod(len(values) for values in job.grid.values())
        is_alike = all(setting_name(name) in ALIKE for name in job.grid)
    sizes = Sizes(
        epochs=config.optim.epochs,
        steps_per_epoch=found.steps_per_epoch,
        feature_bytes=found.feature_bytes,
        learning_bytes=found.learning_bytes,
    )
    if not measure:
        seen = earlier_steps_s(service.queue, config)
        return estimate(sizes, seen, runs=runs, is_alike=is_alike)
    timed = service.dry_runs.report(["train", *setting_words(config)])
    if timed["step_s"] is None:
        return estimate(sizes, (), runs=runs, is_alike=is_alike)
    how = f"the median of {timed['steps_timed']} just now on this server's {timed['device']}"
    return estimate(sizes, [timed["step_s"]], runs=runs, is_alike=is_alike, how=how)


def _told(config: RunConfig) -> dict[str, Any]:
    nested = config.model_dump(mode="json", exclude_defaults=True)
    return {name: value for group in nested.values() for name, value in group.items()}


def _yaml(settings: Mapping[str, Any], job: TrainJob | SweepJob) -> str:
    document = dict(settings)
    if isinstance(job, SweepJob):
        varied = {"seeds": list(job.seeds), "grid": {k: list(v) for k, v in job.grid.items()}}
        document["sweep"] = {name: value for name, value in varied.items() if value}
    return to_yaml(document)


def _command(config: RunConfig, job: TrainJob | SweepJob) -> str:
    words = ["scfae", "sweep" if isinstance(job, SweepJob) else "train", *setting_words(config)]
    if isinstance(job, SweepJob):
        words += ["--seeds", *map(str, job.seeds)] if job.seeds else []
        grid = [f"{name}={','.join(map(str, values))}" for name, values in job.grid.items()]
        words += ["--grid", *grid] if grid else []
    lines, line = [], ""
    for word in words:  # a flag a line, for people to read
        if word.startswith("--"):
            lines.append(line)
            line = "   "
        line += f" {shlex.quote(word)}" if line else shlex.quote(word)
    return " \\\n".join([*lines, line])


def _curl(document: Mapping[str, Any], url: str) -> str:
    body = json.dumps(document, ensure_ascii=False)
    return (
        f"curl -X POST {shlex.quote(url)} \\\n  -H 'Content-Type: application/json' \\\n"
        f'  -H "Authorization: Bearer $SCFAE_TOKEN" \\\n  -d {shlex.quote(body)}'
    )


def _sentences(text: str) -> tuple[str, ...]:
    """Return what an error lists, line by line, without the line that opens the list."""
    first, *rest = [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(rest) if rest and first.endswith(":") else (first, *rest)
