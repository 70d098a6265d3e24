"""`scfae reproduce`: tables of the paper, what is printed beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from scfae.store.errors import ConfigError
from scfae.train.reproduce.tables import DatasetName, datasets_of, table_names

from .arguments import parse, print_json, say
from .interrupt import Stopped, raise_on_sigterm
from .pairs import Pairs
from .progress import Progress

if TYPE_CHECKING:
    from scfae.train.reproduce.data import Part
    from scfae.train.sweeps.plan import Cell

BOOTSTRAP, DEMO_BOOTSTRAP = 1000, 200
"""On the demo's few samples resampling takes longer than training."""

EXAMPLE = """\
  scfae reproduce table5 --data mosei/ --out repro/
  scfae reproduce table3 table9 --data activitynet/ --protocol paper --out repro-paper/
  scfae reproduce all --data mosei=mosei/ fakeavceleb=features/ activitynet=activitynet/ \\
      --seeds 5 --jobs 2 --out repro/
  scfae reproduce all --demo --out repro-demo/     # on generated media, with no data at all
  scfae reproduce table4 --data features/ --columns video=r2plus1d-34 audio=wavlm-base \\
      --methods scfae misa --out repro/            # only these rows are run

The same command again goes on where it was stopped; another table, seed or method runs only what is
new. OUT has each table as .md, .tex, .csv and .json, report.html, and in runs/ a run folder each.
"""


@dataclass(frozen=True)
class ReproduceArguments:
    """Tables of the paper: what is printed, and what it is here, over seeds and with intervals.

    TABLE: table3 to table14, fig4, seeds (section B.3), adapters (Table 6's question on stored
    features) or all. Protocol paper trains SCFAE as its appendix says and each other method by its
    authors' recipe; protocol honest trains all alike.
    """

    tables: Annotated[tuple[str, ...], tyro.conf.Positional]
    """What to reproduce."""
    out: Path
    """Folder for runs, tables and the page."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[SET=]STORE …")] = ()
    """Stores of activitynet, fakeavceleb and mosei; of one set the name may be left out."""
    demo: bool = False
    """Play all three sets by generated media, made in OUT/demo: what the tables say of these."""
    columns: Pairs = ()
    """Which column is which modality, where a store has several; e.g. video=r2plus1d-34, or
    mosei.video=manet_UTT for one set alone."""
    protocol: Literal["paper", "honest"] = "honest"
    """How methods are trained and measured."""
    seeds: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: 3; paper: 1)")] = None
    """Trainings of each row, with seeds 1, 2, …"""
    methods: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME …")] = ()
    """Only rows of these methods are run, the others are as printed; see scfae fusions."""
    settings: Pairs = ()
    """Settings of all runs, e.g. epochs=5 lr=1e-3; they win over the protocol's."""
    jobs: int = 1
    """Runs at a time, each a process of its own."""
    bootstrap: Annotated[
        int | None, tyro.conf.arg(help_behavior_hint="(default: 1000; demo: 200)")
    ] = None
    """Resamples behind each 95 % interval."""
    json: bool = False
    """The tables as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status: 1 if a run has failed."""
    flags = parse(ReproduceArguments, "scfae reproduce", argv, EXAMPLE)
    names = table_names(flags.tables)
    if not names:
        raise ConfigError("reproduce: name a table, such as table5, or all.")
    if flags.demo and (flags.data or flags.columns):
        raise ConfigError("demo: the generated media are the data; leave --data and --columns out.")
    stores = {} if flags.demo else _stores(flags.data, names)

    from scfae.train import RunFolder, SweepInterrupted
    from scfae.train.reproduce.data import check_columns, official_part
    from scfae.train.reproduce.exports import to_markdown
    from scfae.train.reproduce.page import (
        documents_of,
        sheets_of,
        standings_of,
        write_reproduction,
    )
    from scfae.train.reproduce.running import reproduce
    from scfae.train.sweeps.sweep import check_jobs

    check_jobs(flags.jobs)  # before media are made, which takes a while
    columns = dict(flags.columns)
    check_columns(columns)
    settings = _settings(flags.settings)
    parts: dict[DatasetName, Part] = {
        dataset: official_part(dataset, store, columns) for dataset, store in stores.items()
    }
    if flags.demo:
        parts = _generated(flags.out)

    def tell(cell: "Cell", failure: str | None) -> None:
        failed = f"{cell.name}: failed: {failure}"
        say(RunFolder(cell.config.loop.run).summary() if failure is None else failed)

    try:
        with Progress("reproduce", "runs") as progress:
            found = reproduce(
                names,
                parts,
                flags.out,
                protocol=flags.protocol,
                num_seeds=flags.seeds,
                jobs=flags.jobs,
                methods=flags.methods or None,
                settings=settings,
                bootstrap=_bootstrap(flags),
                tell=tell,
                progress=progress,
            )
    except SweepInterrupted as stop:
        raise Stopped(
            f"stopped, with a checkpoint of what was being trained in {flags.out}; the same "
            "command goes on.",
            stop.signum,
        ) from None
    page = write_reproduction(found)
    if flags.json:
        print_json(documents_of(found))
    else:
        print("\n".join(map(to_markdown, sheets_of(found))), end="")
    for name, old in found.superseded.items():
        say(f"{name} was run anew: the data have changed since {', '.join(old)}, which stays.")
    for one in standings_of(found):
        say(
            f"{one['name']}: by {one['by']} SCFAE is ahead of {one['ahead']} other rows beyond "
            f"noise, behind {one['behind']}, and not to be told from {one['within']} "
            f"({one['range']})"
        )
    say(f"report: {page}")
    if found.failed:
        say(
            f"scfae: {len(found.failed)} runs failed: mend what they say; the same command tries "
            "them again, and only them."
        )
    return 1 if found.failed else 0


def _stores(data: Sequence[str], names: Sequence[str]) -> "dict[DatasetName, str]":
    """Return the store of each data set.

    Raises:
        ConfigError: A set is unknown, or what a table is of was not given.
    """
    known: tuple[DatasetName, ...] = get_args(DatasetName)
    wanted = {dataset for name in names for dataset in datasets_of(name)}
    stores: dict[DatasetName, str] = {}
    for word in data:
        head, equals, rest = word.partition("=")
        of = next((one for one in known if one == head and equals), None)
        if of is None:
            if not wanted:
                raise ConfigError(f"data: these tables need none, so what is {word} for?")
            if len(wanted) > 1:
                raise ConfigError(
                    f"data: these tables are of {', '.join(sorted(wanted))}: say which {word} is, "
                    f"as in {sorted(wanted)[0]}={word}."
                )
            (of,), rest = wanted, word
        if of in stores:
            raise ConfigError(f"data: two stores of {of}: {stores[of]} and {rest}.")
        stores[of] = rest
    if wanted and not stores:
        raise ConfigError(
            "data: missing. It is: the store of each data set, as scfae data and scfae extract "
            f"make it ({', '.join(sorted(wanted))} for these tables)."
        )
    return stores


def _generated(out: Path) -> "dict[DatasetName, Part]":
    """Return the data sets played by generated media."""
    from scfae.demo.paper_data import make_paper_data
    from scfae.extract import ExtractionInterrupted

    raise_on_sigterm()
    try:
        with Progress("demo", "steps") as progress:
            return make_paper_data(out / "demo", say=say, progress=progress)
    except ExtractionInterrupted as stop:
        raise Stopped("stopped; the same command goes on.", stop.signum) from None


def _bootstrap(flags: ReproduceArguments) -> int:
    if flags.bootstrap is not None:
        return flags.bootstrap
    return DEMO_BOOTSTRAP if flags.demo else BOOTSTRAP


def _settings(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    from scfae.train.arguments import word_value

    return {key: word_value(value) for key, value in pairs}
