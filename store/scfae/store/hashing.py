"""Random numbers that are a pure function of (seed, epoch, sample id, purpose).

Nothing is drawn from a generator with a state. The 64-bit BLAKE2 hash of an id is mixed with that
of (seed, epoch, purpose) by splitmix64 (Steele, Lea, Flood, OOPSLA 2014), so what is drawn for a
sample is the same on every machine, in any batch and for any order of the modalities.

Shapes: N samples.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]


def id_keys(ids: Sequence[str] | npt.NDArray[Any]) -> Keys:
    """Return a 64-bit hash of each id `[N]`: BLAKE2b, about a microsecond each, worth caching."""
    hashes = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(hashes, dtype="<u8").astype(np.uint64)


class IdKeys:
    """The hashes of a view's ids, made when a batch first needs them.

    A million ids take more than a second to hash, which the first batch need not wait for.

    Args:
        ids: All ids of the view `[N]`.
    """

    def __init__(self, ids: npt.NDArray[Any]) -> None:
        self._ids = ids
        self._keys: Keys = np.zeros(len(ids), dtype=np.uint64)

    def __getitem__(self, positions: npt.NDArray[np.int64]) -> Keys:
        """Return the hashes at `positions`."""
        keys = self._keys[positions]
        # 0 is `not hashed yet`; an id whose hash is 0 is only hashed each time.
        unknown = positions[keys == 0]
        if len(unknown):
            self._keys[unknown] = id_keys(self._ids[unknown])
            keys = self._keys[positions]
        return keys


def mix(keys: Keys, seed: int, epoch: int, purpose: str, name: str = "") -> Keys:
    """Return 64 random bits a key.

    Args:
        keys: `id_keys` of samples.
        seed: Non-negative.
        epoch: Non-negative.
        purpose: What they are drawn for: other purposes are independent of it.
        name: A modality, where each draws for itself.
    """
    text = f"scfae.masking/1\0{seed}\0{epoch}\0{purpose}\0{name}".encode()
    salt = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), dtype="<u8")
    return splitmix64(splitmix64(keys ^ salt) + salt)


def splitmix64(x: Keys) -> Keys:
    """Return the finaliser of splitmix64: a permutation of the 64-bit numbers that looks random."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(keys: Keys) -> npt.NDArray[np.float64]:
    """Return random bits as numbers from 0 to 1, exclusive of 1."""
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53
