"""Models of the Hugging Face hub: from a folder, from its cache on this machine, or from the net.

huggingface_hub honours HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE. What is in
the cache is used without asking the net, so that a run does not depend on what is newest there.
"""

import hashlib
from pathlib import Path
from typing import Final

from scfae.store.atomic import sha256_file
from scfae.store.errors import WeightsMismatch, WeightsUnavailable

_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")
_SMALL: Final = ("*.json", "*.txt", "*.model", "*.jinja")
_IGNORED: Final = ("README*", "LICENSE*", "requirements*")


def model_folder(encoder: str, model: str) -> Path:
    """Return the folder of a model: config, weights, and what prepares its input.

    Args:
        encoder: Name of the encoder, for messages.
        model: A folder, or an id on the hub.

    Raises:
        WeightsUnavailable: If it is neither a folder here, nor in the cache, nor to be fetched.
        WeightsMismatch: If the folder holds no model.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        path = _snapshot(encoder, model)
    if not (path / "config.json").is_file():
        raise WeightsMismatch(f"{path}: has no config.json; it is no model of transformers.")
    return path


def model_sha256(folder: Path) -> str:
    """Return the digest of all files of a model that decide its numbers.

    Raises:
        WeightsMismatch: If it holds no weights.
    """
    weights = next((found for p in _WEIGHTS if (found := sorted(folder.glob(p)))), [])
    if not weights:
        raise WeightsMismatch(f"{folder}: holds no weights ({', '.join(_WEIGHTS)}).")
    total = hashlib.sha256()
    for file in weights + config_files(folder):
        total.update(f"{file.name} {sha256_file(file)}\n".encode())
    return total.hexdigest()


def config_files(folder: Path) -> list[Path]:
    """Return the small files of a model: its configuration, vocabulary and the like, by name."""
    found = {file for pattern in _SMALL for file in folder.glob(pattern) if file.is_file()}
    found -= {file for pattern in _IGNORED for file in folder.glob(pattern)}
    return sorted(found)


def _snapshot(encoder: str, model: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def get(weights: str, *, is_local: bool) -> Path:
        patterns = [*_SMALL, weights]
        found = snapshot_download(model, allow_patterns=patterns, local_files_only=is_local)
        return Path(found)

    try:
        try:
            folder = get(_WEIGHTS[0], is_local=True)
            if any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
                return folder
        except LocalEntryNotFoundError:
            pass
        folder = get(_WEIGHTS[0], is_local=False)
        if not any(folder.glob(_WEIGHTS[0])):
            folder = get(_WEIGHTS[1], is_local=False)
        return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:120]
        raise WeightsUnavailable(
            f"{encoder}: '{model}' is no folder here and not in the hub's cache "
            f"({constants.HF_HUB_CACHE}), and cannot be fetched ({type(error).__name__}: {why}). "
            f"Name a folder, or put it there on a machine with a network: hf download {model}."
        ) from None
