"""`scfae study`: where SCFAE helps and where not, every method tuned alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json, say
from .interrupt import Stopped
from .pairs import Pairs
from .progress import Progress

if TYPE_CHECKING:
    from scfae.train.sweeps.plan import Cell

EXAMPLE = """\
  scfae study --quick --out study/                 # minutes on two cores
  scfae study --out study-full/                    # hours
  scfae study --quick --questions conflict widths --out study/
  scfae study --quick --data features/ --columns video=r2plus1d-34 audio=wavlm-base --label fake \
      --out study-of-mine/                         # on a store of your own

The same command again goes on where it was stopped. OUT has report.html, study.md, study.csv and
study.json, and for each question its data, and a run folder for each training.
"""


@dataclass(frozen=True)
class StudyArguments:
    """What the paper leaves open, on generated data whose structure is known, or on a store.

    Does SCFAE help when modalities conflict, are missing at test or in training too, have unequal
    widths, or share little? And SCFAE stacked, or with lighter maps? Every method tries the same
    settings, validation chooses, and fresh draws of data and weights measure. On a store (--data)
    conflict is a modality of some samples taken from a sample of another class, gaps are masks, and
    widths are principal components laid whole into wider spaces; each draw has test samples of its
    own.
    """

    out: Path
    """Folder for runs and the page."""
    quick: bool = False
    """Fewer methods, trials, draws and samples."""
    questions: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME …")] = ()
    """Only these: conflict, missing-at-test, missing-in-training, widths; shared, of no --data."""
    data: Path | None = None
    """A feature store to ask, in place of generated data."""
    columns: Pairs = ()
    """Column of each modality of --data, where a modality has several."""
    label: str | None = None
    """Label of --data with classes."""
    jobs: int = 2
    """Questions at a time, each in a process of its own."""
    device: str = "cpu"
    """Where models run: cpu, cuda or auto."""
    json: bool = False
    """The study as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status: 1 if a method has no figures."""
    flags = parse(StudyArguments, "scfae study", argv, EXAMPLE)

    from scfae.train import SweepInterrupted
    from scfae.train.setting_problems import suggest
    from scfae.train.study.given import GivenData, given_of
    from scfae.train.study.given_questions import given_questions
    from scfae.train.study.page import document, to_markdown, write_study
    from scfae.train.study.questions import FORMS, QUESTIONS
    from scfae.train.study.results import read_answer
    from scfae.train.study.running import Study, hush

    form = FORMS["quick" if flags.quick else "full"]
    data = None
    if flags.data is not None:
        if flags.label is None:
            raise ConfigError("label: missing. It is: the label column of --data, with classes.")
        data = GivenData(given_of(flags.data, flags.label, dict(flags.columns)), form)
    elif flags.columns or flags.label is not None:
        raise ConfigError("data: missing. --columns and --label are of a store: name it by --data.")
    asked_of = QUESTIONS if data is None else given_questions(data, form)
    known = {question.name: question for question in asked_of}
    here = "" if data is None else " of a store"
    for name in flags.questions:
        if name not in known:
            raise ConfigError(
                f"questions: there is no {name}{here}.{suggest(name, known)} Known: "
                f"{', '.join(known)}."
            )
    asked = [known[name] for name in dict.fromkeys(flags.questions or known)]

    def tell(cell: "Cell", failure: str | None) -> None:
        if failure is not None:
            say(f"{cell.name}: failed: {failure}")

    hush()
    try:
        with Progress("study", "runs") as progress:
            study = Study(
                flags.out,
                form,
                asked,
                data=data,
                jobs=flags.jobs,
                device=flags.device,
                tell=tell,
                progress=progress,
            )
            answers = [read_answer(one) for one in study.run()]
    except SweepInterrupted as stop:
        raise Stopped(
            f"stopped, with a checkpoint of what was being trained in {flags.out}; the same "
            "command goes on.",
            stop.signum,
        ) from None
    page = write_study(flags.out, form, answers, data)
    if flags.json:
        print_json(document(form, answers, data))
    else:
        print(to_markdown(form, answers, data), end="")
    say(f"report: {page}")
    return 1 if any(row.failure for answer in answers for row in answer.rows) else 0
