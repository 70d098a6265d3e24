"""Models of the Hugging Face hub: from a folder, from its cache on this machine, or from the net.

huggingface_hub honours HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE. What is in
the cache is used without asking the net, so that a run does not depend on what is newest there.
"""

import hashlib
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from scfae.store.atomic import sha256_file
from scfae.store.errors import ConfigError, WeightsMismatch, WeightsUnavailable

_CONNECT_S: Final = 5.0
HUB: Final = "hf://"
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


def cached_file(reference: str) -> Path | None:
    """Return a file of the hub from its cache on this machine, None if it is not there.

    Args:
        reference: `org/name/path/in/it`.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(*_split(reference))
    return Path(found) if isinstance(found, str) else None


def fetch_file(encoder: str, reference: str) -> Path:
    """Return a file of the hub, from its cache or else from the net.

    Args:
        encoder: Name of the encoder, for messages.
        reference: `org/name/path/in/it`.

    Raises:
        WeightsUnavailable: If it is in neither.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    found = cached_file(reference)
    if found is not None:
        return found
    repository, name = _split(reference)
    try:
        _check_connection()
        return Path(hf_hub_download(repository, name))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:120]
        raise WeightsUnavailable(
            f"{encoder}: '{name}' of {repository} is not in the hub's cache "
            f"({constants.HF_HUB_CACHE}), and cannot be fetched ({type(error).__name__}: {why}). "
            f"On a machine with a network: hf download {repository} {name}."
        ) from None


def _check_connection() -> None:
    """Check that the hub can be reached, at once: its client would try for half a minute.

    Raises:
        OSError: If it cannot, or is not to be asked.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    if getproxies():
        return  # it is the proxy's to say
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    socket.create_connection((address.hostname, port), timeout=_CONNECT_S).close()


def _split(reference: str) -> tuple[str, str]:
    """Return (repository, file) of `org/name/path/in/it`.

    Raises:
        ConfigError: If it is not of that form.
    """
    parts = reference.split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise ConfigError(f"{HUB}{reference}: a file of the hub is {HUB}ORG/NAME/FILE.")
    return f"{parts[0]}/{parts[1]}", parts[2]


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
        _check_connection()
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
