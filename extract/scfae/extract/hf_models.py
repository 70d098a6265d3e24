"""A model of transformers found and built: names, folders, digests, noise."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scfae.store.errors import ConfigError, WeightsMismatch

from .entry import EncoderEntry
from .hub import model_folder, model_sha256
from .weights import PUBLISHED, RANDOM, Weights, build_random


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on this machine.

    Attributes:
        name: Of its encoder: `PREFIX:MODEL`, with the folder's own name for a folder, so that the
            column of a model does not depend on where the model lies.
        folder: Where it is.
        weights: Where its weights came from; for a folder, its path.
        sha256: Of all its files that decide numbers; None for random weights.
    """

    name: str
    folder: Path
    weights: Weights
    sha256: str | None


def find_model(entry: EncoderEntry, weights: str | None) -> FoundModel:
    """Return the model of an entry named `PREFIX:MODEL`.

    Args:
        entry: With the full name.
        weights: None, a folder (then MODEL is only a name), or `random:SEED`.

    Raises:
        ConfigError: If the weights are something else.
        WeightsUnavailable, WeightsMismatch: As `model_folder`.
    """
    prefix, _, model = entry.name.partition(":")
    if weights is not None and weights.startswith(RANDOM):
        seed = weights.removeprefix(RANDOM)
        if not seed.isdecimal():
            raise ConfigError(f"{entry.name}@{weights}: the seed must be a whole number.")
        folder = model_folder(entry.name, model)
        return FoundModel(_name(prefix, model), folder, Weights(weights, None, int(seed)), None)
    if weights in (None, PUBLISHED):
        folder = model_folder(entry.name, model)
        source = str(folder) if Path(model).expanduser().is_dir() else PUBLISHED
    else:
        folder, source = Path(str(weights)).expanduser(), str(weights)
        if not folder.is_dir():
            raise ConfigError(
                f"{entry.name}@{weights}: the weights of {prefix}: are a model's folder, or "
                "random:SEED."
            )
        folder = model_folder(entry.name, str(folder))
    return FoundModel(
        _name(prefix, model), folder, Weights(source, None, None), model_sha256(folder)
    )


def build_model(found: FoundModel, encoder: str) -> Any:
    """Return the network in float32 with its weights, or with noise.

    A pooler on top of the tokens that is not in the file is taken out.

    Raises:
        WeightsMismatch: If it cannot be built, or a weight is missing or left over.
    """
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(
            found.folder, local_files_only=True, trust_remote_code=False
        )
        if found.weights.seed is not None:
            build = partial(AutoModel.from_config, config, trust_remote_code=False)
            return build_random(build, found.weights.seed)
        module, said = AutoModel.from_pretrained(
            found.folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        why = " ".join(str(error).split())[:200]
        raise WeightsMismatch(f"{found.folder}: cannot be loaded as {encoder} ({why}).") from None
    if any(key.startswith("pooler.") for key in said["missing_keys"]):
        module.pooler = None
    missing = [key for key in said["missing_keys"] if not key.startswith("pooler.")]
    wrong = missing or said.get("mismatched_keys") or said.get("error_msgs")
    if wrong:
        raise WeightsMismatch(
            f"{found.folder}: {len(wrong)} weights of the network are not in the file "
            f"({', '.join(map(str, sorted(wrong)[:3]))})."
        )
    return module


def _name(prefix: str, model: str) -> str:
    path = Path(model).expanduser()
    return f"{prefix}:{path.resolve().name if path.is_dir() else model}"
