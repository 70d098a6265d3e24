"""How methods are trained and measured: the paper's way, or the same way for all.

What the paper leaves open is read as in its neighbours' code, and said. In neither protocol do test
labels choose anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scfae.fusion import SCFAE, FusionInfo, fusion_info

from ..recipe import recipe_settings
from .data import Part
from .tables import FULL, Row

ProtocolName = Literal["paper", "honest"]
SHORT_EPOCHS = 10
"""Epochs of SCFAE on FakeAVCeleb and ActivityNet (appendix A); on CMU-MOSEI they are 125."""
RETRIEVAL_BATCH = 256
"""Samples a step of a contrastive loss, whose negatives are the batch; the paper names none."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A way to train and to measure.

    Attributes:
        name: `paper` or `honest`.
        num_seeds: Seeds, where no number is asked for.
        training: How methods are trained.
        selection: Which epoch is measured.
        splits: On what.
        averaging: What an average is of.
        unimodal_label: What a set that lacks modalities is asked.
    """

    name: ProtocolName
    num_seeds: int
    training: str
    selection: str
    splits: str
    averaging: str
    unimodal_label: str

    def sentences(self) -> dict[str, str]:
        """Return what a page says of it, by topic."""
        return {
            "training": self.training,
            "selection": self.selection,
            "splits": self.splits,
            "averaging": self.averaging,
            "label of a single modality": self.unimodal_label,
        }


_SPLITS = (
    "The store's own train, val and test; without val, 15 % of train by group. Neither the paper's "
    "split of FakeAVCeleb nor its ActivityNet pairs are public."
)
_OWN = "Its own: whether the sound is fake, whether the picture is."

PROTOCOLS: dict[ProtocolName, Protocol] = {
    "paper": Protocol(
        "paper",
        num_seeds=1,
        training="SCFAE as its appendix A says, every other method by its authors' recipe, so with "
        "other optimizers and epochs. Nothing is masked in training, but where a method's authors "
        "train one model for each condition, or the method hides modalities itself.",
        selection="The epoch that is best on validation; the paper names no rule, and the test "
        "split, by which some of its neighbours choose, chooses nothing here.",
        splits=_SPLITS,
        averaging="Over all seven conditions, as in the paper's own row.",
        unimodal_label=_OWN,
    ),
    "honest": Protocol(
        "honest",
        num_seeds=3,
        training="Every method with the same optimizer, schedule, epochs, batches and masks: each "
        "training step hides a random set of modalities. Its own loss weights, stages and way of "
        "combining gradients stay.",
        selection="The epoch that is best on validation, for every method.",
        splits=_SPLITS,
        averaging="Over all seven conditions, and over the six that lack something.",
        unimodal_label=_OWN,
    ),
}


def method_settings(protocol: Protocol, part: Part, row: Row, condition: str) -> dict[str, Any]:
    """Return the settings of a row's run that the protocol decides.

    Args:
        protocol: Which.
        part: The data.
        row: The row, of a method.
        condition: `FULL`, or the letters of the only condition that the model is for.
    """
    assert row.method is not None
    info = fusion_info(row.method)
    settings: dict[str, Any] = {
        "fusion": info.name,
        "options": {
            **part.sizes.get(info.name, {}),
            **{key: _named(part, key, value) for key, value in row.options.items()},
        },
        **_optimizer(protocol, part, info),
        **row.settings,
    }
    if part.is_joint:
        settings |= part.joint_settings()
    elif part.task == "retrieval":
        settings["task_options"] = {
            "map_at": [10, 50, 100],
            "distance": "l2" if protocol.name == "paper" else "cos",
        }
    elif condition != FULL:
        shown = part.modalities(condition)
        settings["masking"] = f"only:{','.join(shown)}" if len(shown) < len(part.columns) else None
    elif protocol.name == "honest":
        settings["masking"] = "subsets"
    if row.section == "128-128":
        settings["linear_maps"] = {part.letters["v"]: part.image_dim}
    if "dialogue" in info.needs and part.has_groups:
        settings["group_batches"] = True
    return {key: value for key, value in settings.items() if value not in (None, {})}


def num_models(protocol: Protocol, row: Row) -> Literal["one", "per condition"]:
    """Return whether a row is one model, or one for each condition."""
    return "per condition" if row.per_condition and protocol.name == "paper" else "one"


def _optimizer(protocol: Protocol, part: Part, info: FusionInfo) -> dict[str, Any]:
    if protocol.name == "honest":
        settings: dict[str, Any] = {"combiner": info.recipe.combiner, "clip_norm": 1.0}
        if part.task == "retrieval":
            settings["batch_size"] = RETRIEVAL_BATCH
        return settings
    settings = recipe_settings(info)
    if issubclass(info.method, SCFAE) and part.task == "retrieval":
        settings["batch_size"] = RETRIEVAL_BATCH
    if issubclass(info.method, SCFAE) and part.dataset != "mosei":
        settings["epochs"] = SHORT_EPOCHS
    return settings


_LETTERED = ("order", "leading", "source")
"""Options whose values are modalities, which tables name by letter."""


def _named(part: Part, key: str, value: Any) -> Any:
    if key not in _LETTERED:
        return value
    if isinstance(value, str):
        return part.letters[value]
    return [part.letters[letter] for letter in value]


def merged(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with a user's on top: mappings entry by entry, anything else whole."""
    found = dict(settings)
    for key, value in overrides.items():
        name, _, entry = key.partition(".")
        inner = found.get(name) or {}
        if not entry:
            found[name] = value
        elif "." in entry and isinstance(inner, Mapping):  # as encoders.video.train
            found[name] = merged(inner, {entry: value})
        else:
            found[name] = {**inner, entry: value}
    return found
