"""`scfae data NAME`: the layout of an official data set becomes a manifest or a store."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json, say
from .pairs import Pairs

if TYPE_CHECKING:
    from scfae.train.data import DataReport

FAKEAVCELEB_EXAMPLE = """\
  scfae data fakeavceleb FakeAVCeleb_v1.2/ fakeavceleb.csv
  scfae data fakeavceleb FakeAVCeleb_v1.2/ mvf.csv --lists train=train_frame.txt test=val_frame.txt
  scfae extract fakeavceleb.csv features/ -e efficientnet-lite0 -e ge2e
"""
FOLDER_EXAMPLE = """\
  scfae data folder clips/ clips.csv --label word --group 'speaker(\\d+)'
  scfae extract clips.csv features/ -e ge2e
"""


@dataclass(frozen=True)
class FakeAVCelebArguments:
    """FakeAVCeleb v1.2 -> a manifest with the labels of the whole and of each modality.

    Labels: fake, fake_video, fake_audio, class (RvRa, RvFa, FvRa, FvFa), method, race, gender,
    target1, target2; the group is the source identity. Splits are disjoint by it.
    """

    root: Annotated[Path, tyro.conf.Positional]
    """The folder that holds meta_data.csv."""
    manifest: Annotated[Path, tyro.conf.Positional]
    """The .csv to write; what was found and left is kept beside it as NAME.data.json."""
    lists: Pairs = ()
    """A public list of frames for each split, e.g. train=train_frame.txt test=val_frame.txt."""
    test: float = 0.2
    """Share of the identities for test, without lists."""
    val: float = 0.1
    """Share of the other identities for val."""
    seed: int = 1
    """Decides which."""
    drop_crossing: bool = False
    """Leave out clips whose target is a source of another split."""
    max_failures: int = 0
    """More things skipped than this end the command with status 3."""
    json: bool = False
    """The report as one JSON document on stdout."""


@dataclass(frozen=True)
class FolderArguments:
    """Class folders ROOT/CLASS/… or ROOT/SPLIT/CLASS/… -> a manifest with a label.

    Without folders named train, val or test, samples are dealt by group and seed.
    """

    root: Annotated[Path, tyro.conf.Positional]
    """The folder; its folders are the classes, or splits that hold the classes."""
    manifest: Annotated[Path, tyro.conf.Positional]
    """The .csv to write; what was found and left is kept beside it as NAME.data.json."""
    label: str = "class"
    """Name of the label."""
    group: Annotated[str | None, tyro.conf.arg(metavar="PATTERN")] = None
    """A pattern with one bracket, searched in CLASS/…/NAME: the speaker, the scene."""
    test: float = 0.2
    """Share of the groups for test."""
    val: float = 0.1
    """Share of the other groups for val."""
    seed: int = 1
    """Decides which."""
    max_failures: int = 0
    """More things skipped than this end the command with status 3."""
    json: bool = False
    """The report as one JSON document on stdout."""


def _fakeavceleb(argv: Sequence[str]) -> int:
    flags = parse(FakeAVCelebArguments, "scfae data fakeavceleb", argv, FAKEAVCELEB_EXAMPLE)
    from scfae.train.data import Shares, prepare_fakeavceleb

    report = prepare_fakeavceleb(
        flags.root,
        flags.manifest,
        shares=Shares(test=flags.test, val=flags.val, seed=flags.seed),
        lists=_splits(flags.lists),
        drop_crossing=flags.drop_crossing,
    )
    return _done(report, flags.max_failures, is_json=flags.json)


def _folder(argv: Sequence[str]) -> int:
    flags = parse(FolderArguments, "scfae data folder", argv, FOLDER_EXAMPLE)
    from scfae.train.data import Shares, prepare_folder

    report = prepare_folder(
        flags.root,
        flags.manifest,
        label=flags.label,
        group=flags.group,
        shares=Shares(test=flags.test, val=flags.val, seed=flags.seed),
    )
    return _done(report, flags.max_failures, is_json=flags.json)


def _splits(pairs: Pairs) -> dict[str, str]:
    for name, _ in pairs:
        if name not in ("train", "val", "test"):
            raise ConfigError(f"--lists: there is no split '{name}'; splits are train, val, test.")
    return dict(pairs)


def _done(report: "DataReport", max_failures: int, *, is_json: bool) -> int:
    say(report.text())
    if is_json:
        print_json(report.as_dict())
    return 3 if len(report.skipped) > max_failures else 0


ACTIONS = {
    "fakeavceleb": _fakeavceleb,
    "folder": _folder,
}

USAGE = """\
usage: scfae data NAME SOURCE OUT …

Official layouts, as they lie on disk, become a manifest for `scfae extract`, or a store.
Nothing is downloaded. What was found, skipped and split is kept beside OUT as NAME.data.json.

  fakeavceleb  FakeAVCeleb v1.2 (meta_data.csv, four class folders) -> manifest
  folder       ROOT/CLASS/… or ROOT/SPLIT/CLASS/… -> manifest

example:
  scfae data fakeavceleb FakeAVCeleb_v1.2/ fakeavceleb.csv
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] not in ACTIONS:
        near = difflib.get_close_matches(argv[0], ACTIONS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"scfae data has no data set '{argv[0]}'.{hint} There are: {', '.join(ACTIONS)}."
        )
    return ACTIONS[argv[0]](argv[1:])
