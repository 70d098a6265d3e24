"""Weights files: found, hashed, read without running anything in them, and checked key by key.

A file must fit its encoder exactly: every key is used or on the encoder's list of keys to drop, and
every parameter is filled. `random:SEED` is noise that is the same on every run.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scfae.store.atomic import sha256_file
from scfae.store.errors import ConfigError, WeightsMismatch, WeightsUnavailable

from .hub import HUB, fetch_file

if TYPE_CHECKING:
    from .entry import EncoderEntry

RANDOM = "random:"
PUBLISHED = "published"
State = dict[str, Tensor]
Find = Callable[[], Path | None]


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one encoder.

    Attributes:
        source: As the user gave it, or `published`.
        path: The file; None for random weights.
        seed: Of random weights; None for a file.
    """

    source: str
    path: Path | None
    seed: int | None

    @property
    def sha256(self) -> str | None:
        """Digest of the file; None for random weights."""
        return None if self.path is None else sha256_file(self.path)

    @property
    def is_random(self) -> bool:
        """The weights are noise."""
        return self.seed is not None


def find_weights(
    encoder: str,
    weights: str | None,
    *,
    find: Find,
    hint: str,
    fetch: Callable[[], Path] | None = None,
) -> Weights:
    """Return where the weights are.

    Args:
        encoder: Name of the encoder, for messages.
        weights: A path, `hf://org/name/file` of the hub, `random:SEED`, or None for the published
            ones.
        find: Returns the published file on this machine, None if it is not here.
        fetch: Gets it from the net; None if nobody offers it.
        hint: Which file that is, where it comes from and where it goes.

    Raises:
        WeightsUnavailable: If the file is not on this machine.
        ConfigError: If the seed is no number.
    """
    if weights is not None and weights.startswith(RANDOM):
        seed = weights.removeprefix(RANDOM)
        if not seed.isdecimal():
            raise ConfigError(f"{encoder}@{weights}: the seed must be a whole number.")
        return Weights(weights, None, int(seed))
    if weights is not None and weights.startswith(HUB):
        return Weights(weights, fetch_file(encoder, weights.removeprefix(HUB)), None)
    if weights is not None and weights != PUBLISHED:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsUnavailable(f"{encoder}: there is no weights file at {path}.")
        return Weights(weights, path, None)
    found = find()
    why = ""
    if found is None and fetch is not None:
        try:
            found = fetch()
        except WeightsUnavailable as error:
            why = f" {error}"
    if found is None:
        raise WeightsUnavailable(
            f"{encoder}: its published weights are not on this machine. {hint}{why} "
            f"Or name a file: {encoder}@/path/to/file; or take noise: {encoder}@random:0."
        )
    return Weights(PUBLISHED, found, None)


def locate(entry: "EncoderEntry", weights: str | None) -> Weights:
    """Return where the weights of an entry's encoder are; raises as `find_weights`."""
    return find_weights(
        entry.name,
        weights,
        find=entry.find_here,
        fetch=partial(fetch_file, entry.name, entry.hub) if entry.hub else None,
        hint=f"They are in {entry.weights_file}. {entry.weights_hint}",
    )


def read_state(path: Path, *, allowed: Iterable[type] = ()) -> State:
    """Return the tensors of a weights file; see `read_document` and `state_of`."""
    return state_of(read_document(path, allowed=allowed), path)


def state_of(document: Any, path: Path) -> State:
    """Return the tensors of what a weights file holds.

    Wrappers: `model`, `module`, `state_dict`, `model_state`, `model_state_dict`, or none; and the
    key prefix `module.` of a data-parallel run.

    Args:
        document: As `read_document` returns it.
        path: The file, for messages.

    Raises:
        WeightsMismatch: If it holds anything but tensors.
    """
    while isinstance(document, Mapping):
        wrapper = next((key for key in _WRAPPERS if isinstance(document.get(key), Mapping)), None)
        if wrapper is None:
            break
        document = document[wrapper]
    if not isinstance(document, Mapping) or not document:
        raise WeightsMismatch(f"{path}: holds no named tensors; it is not a weights file.")
    state = {str(key): value for key, value in document.items() if isinstance(value, Tensor)}
    strays = sorted(str(key) for key in document if str(key) not in state)
    if strays:
        raise WeightsMismatch(
            f"{path}: '{strays[0]}' is no tensor; it is not a weights file of a known layout."
        )
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


_WRAPPERS = ("model_state_dict", "model_state", "state_dict", "model", "module")


def read_document(path: Path, *, allowed: Iterable[type] = ()) -> Any:
    """Return what a weights file holds; nothing in it is run.

    Args:
        path: The file.
        allowed: Plain classes whose instances may lie beside the tensors, e.g. of a script's
            arguments.

    Raises:
        WeightsMismatch: If it cannot be read so.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
        KeyError,
        AttributeError,
        IndexError,
        TypeError,
    ) as error:
        stranger = re.search(r"GLOBAL (\S+)", str(error))
        why = " ".join(str(error).split())[:160]
        if not re.search("[a-z]{3}", why):  # such as the number of an opcode that there is not
            why = "it is no file of torch or safetensors"
        if stranger is not None:
            why = f"it holds {stranger[1]}"
        raise WeightsMismatch(
            f"{path}: cannot be read as weights ({why}). It may be cut off, or hold more than "
            "tensors, which is not loaded."
        ) from None


def load_strict(
    module: nn.Module, state: State, *, path: Path, encoder: str, drop: Iterable[str] = ()
) -> None:
    """Fill a module from a state, with every key accounted for.

    Args:
        module: The network.
        state: Tensors under the module's own names.
        path: The file, for messages.
        encoder: Name of the encoder, for messages.
        drop: Prefixes of keys that the encoder does not use, e.g. a classifier.

    Raises:
        WeightsMismatch: If a key is left over, a parameter is not filled, or a shape differs.
    """
    kept = {k: v for k, v in state.items() if not any(k.startswith(prefix) for prefix in drop)}
    wanted = module.state_dict()
    # A counter of batches seen in training: older files lack it, and evaluation ignores it.
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    extra = sorted(set(kept) - set(wanted))
    missing = sorted(set(wanted) - set(kept) - counters)
    wrong = sorted(
        f"{key} is {list(kept[key].shape)}, not {list(wanted[key].shape)}"
        for key in set(kept) & set(wanted)
        if kept[key].shape != wanted[key].shape
    )
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in (
            ("unknown keys", extra),
            ("keys missing", missing),
            ("shapes differ", wrong),
        )
        if names
    ]
    if problems:
        raise WeightsMismatch(
            f"{path}: these are not weights of {encoder}: {'; '.join(problems)}. "
            "Give a file of this architecture in its official layout."
        )
    bad = [key for key, value in kept.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise WeightsMismatch(f"{path}: NaN or infinity in {bad[0]}; the file is damaged.")
    module.load_state_dict(kept, strict=False)


def build_random(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a module with its initial weights drawn from a seed; other generators stay as is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def load_network(
    entry: "EncoderEntry",
    weights: str | None,
    *,
    build: Callable[[], nn.Module],
    build_for: Callable[[State], nn.Module] | None = None,
    rename: Callable[[State, Path], State] | None = None,
    drop: Iterable[str] = (),
    allowed: Iterable[type] = (),
) -> tuple[nn.Module, Weights]:
    """Return an encoder's network with its weights, and where they came from.

    Args:
        entry: The encoder.
        weights: As `find_weights` takes them.
        build: Makes the network.
        build_for: Makes it from a file's renamed tensors, where those say which network it is.
        rename: From the upstream file's names to the network's; gets the state and the file.
        drop: Prefixes of keys that the network does not use.
        allowed: As `read_state` takes them.

    Raises:
        WeightsUnavailable: If the file is not on this machine.
        WeightsMismatch: If it cannot be read, or is of another architecture.
    """
    found = locate(entry, weights)
    if found.path is None:
        return build_random(build, found.seed or 0), found
    state = read_state(found.path, allowed=allowed)
    if rename is not None:
        state = rename(state, found.path)
    # Every value is replaced; the global generator stays as it is.
    module = build_random(build if build_for is None else partial(build_for, state), 0)
    load_strict(module, state, path=found.path, encoder=entry.name, drop=drop)
    return module, found
