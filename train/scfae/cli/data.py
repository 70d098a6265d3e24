"""`scfae data NAME`: the layout of an official data set becomes a manifest or a store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from scfae.store.errors import ConfigError

from .arguments import dispatch, parse, print_json, say
from .interrupt import resumable
from .pairs import Pairs
from .progress import Progress

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
MOSEI_EXAMPLE = """\
  scfae data mosei aligned_50.pkl mosei/ --nonfinite zero                  # MMSA
  scfae data mosei features/ mosei/ --labels CMUMOSEI_features_raw_2way.pkl  # GCNet, MoMKE
  scfae data mosei csd/ mosei/ --folds cmu_mosei_std_folds.py --nonfinite zero   # CMU-SDK
"""
ACTIVITYNET_EXAMPLE = """\
  scfae data activitynet apivr/ activitynet/
  scfae data activitynet apivr/ activitynet/ --setting 128-128
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


@dataclass(frozen=True)
class MoseiArguments:
    """CMU-MOSEI's published features, in any of three layouts -> a store.

    MMSA's pickle; GCNet's and MoMKE's utterance folders with their label pickle; a folder of the
    CMU-SDK's .csd. Labels: sentiment and order; the group is the video. No pickle is run.
    """

    source: Annotated[Path, tyro.conf.Positional]
    """The pickle, the folder of utterance folders, or the folder of .csd files."""
    store: Annotated[str, tyro.conf.Positional]
    """The store to make, a folder or URL; what was found and left is kept in NAME.data.json."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """GCNet's label pickle, with utterance folders."""
    folds: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The SDK's cmu_mosei_std_folds.py, with .csd files; parsed, not run."""
    columns: Pairs = ()
    """Which folder or .csd is which modality, e.g. audio=wav2vec-large-c-UTT."""
    nonfinite: Literal["fail", "zero"] = "fail"
    """A sample with NaN or infinity (COVAREP has some): fail it, or put 0 and call it partial."""
    test: float = 0.2
    """Share of the videos for test, of .csd files without folds."""
    val: float = 0.1
    """Share of the other videos for val."""
    seed: int = 1
    """Decides which."""
    shard_size: int = 256
    """Samples a shard; fixed when the store is made."""
    max_failures: int = 0
    """More things skipped than this end the command with status 3."""
    json: bool = False
    """The report as one JSON document on stdout."""


@dataclass(frozen=True)
class ActivityNetArguments:
    """ActivityNet features of the APIVR family -> a store of pairs of video and image.

    ROOT holds train_v.pkl, train_i.pkl, train_label.pkl and the same three of test: bags of 64 x
    4096, images of 128. Labels: class and pair. No pickle is run.
    """

    root: Annotated[Path, tyro.conf.Positional]
    """The folder with the six pickles."""
    store: Annotated[str, tyro.conf.Positional]
    """The store to make, a folder or URL; what was found and left is kept in NAME.data.json."""
    setting: Literal["4096-128", "128-128"] = "4096-128"
    """128-128 adds the column apivr-video-128, the video in 128 features without training; the
    paper's map, trained with the fusion, is `scfae train --linear-maps video=128`."""
    reduce: Literal["pca", "project"] = "pca"
    """How: principal components fitted on train, or a random projection."""
    val: float = 0.1
    """Share of train for val."""
    seed: int = 1
    """Decides which."""
    shard_size: int = 64
    """Samples a shard; fixed when the store is made."""
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


def _mosei(argv: Sequence[str]) -> int:
    flags = parse(MoseiArguments, "scfae data mosei", argv, MOSEI_EXAMPLE)
    from scfae.train.data import Shares, prepare_mosei

    with resumable(flags.store), Progress("data", "samples") as progress:
        report = prepare_mosei(
            flags.source,
            flags.store,
            labels=flags.labels,
            folds=flags.folds,
            columns=dict(flags.columns) or None,
            nonfinite=flags.nonfinite,
            shares=Shares(test=flags.test, val=flags.val, seed=flags.seed),
            shard_size=flags.shard_size,
            progress=progress,
        )
    return _done(report, flags.max_failures, is_json=flags.json)


def _activitynet(argv: Sequence[str]) -> int:
    flags = parse(ActivityNetArguments, "scfae data activitynet", argv, ACTIVITYNET_EXAMPLE)
    from scfae.train.data import Shares, prepare_activitynet

    with resumable(flags.store), Progress("data", "samples") as progress:
        report = prepare_activitynet(
            flags.root,
            flags.store,
            setting=flags.setting,
            reduce=flags.reduce,
            shares=Shares(val=flags.val, seed=flags.seed),
            shard_size=flags.shard_size,
            progress=progress,
        )
    return _done(report, 0, is_json=flags.json)


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
    "mosei": _mosei,
    "activitynet": _activitynet,
    "folder": _folder,
}

USAGE = """\
usage: scfae data NAME SOURCE OUT …

Official layouts, as they lie on disk, become a manifest for `scfae extract`, or a store.
Nothing is downloaded. What was found, skipped and split is kept beside OUT as NAME.data.json.

  fakeavceleb  FakeAVCeleb v1.2 (meta_data.csv, four class folders) -> manifest
  mosei        CMU-MOSEI: MMSA's pickle, GCNet's utterance folders, the SDK's .csd -> store
  activitynet  the APIVR family's features: bags of 64 x 4096, images of 128 -> store
  folder       ROOT/CLASS/… or ROOT/SPLIT/CLASS/… -> manifest

example:
  scfae data fakeavceleb FakeAVCeleb_v1.2/ fakeavceleb.csv
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return dispatch("scfae data", argv, ACTIONS, USAGE, what="data set", known="There are")
