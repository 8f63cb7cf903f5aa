"""Addressed random streams: every draw has an address, so no draw depends on what was drawn before it.

The seventeenth configuration of seed 3 is `Streams(3)("config", 17)` whoever asks, in whatever order and in
whichever process. Two methods that share a seed therefore see the same samples, and a study that was killed
goes on with the numbers it would have had. There is no global generator anywhere in hypernudge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Address = str | int


def integer(seed: int, *address: Address, bits: int = 63) -> int:
    """Return the integer in `[0, 2**bits)` that stands at `address` below `seed`.

    The mapping is a BLAKE2b hash of the address, so it is the same on every machine and Python version.

    Args:
        seed: Any integer.
        *address: Strings and integers; `("config", 1)` and `("config", "1")` are different addresses.
        bits: Number of bits, from 1 to 256.
    """
    # Strings carry their length, so that no two addresses are spelled alike.
    parts = (f"i{part}" if isinstance(part, int) else f"s{len(part)}:{part}" for part in address)
    text = "/".join([f"i{seed}", *parts])
    digest = hashlib.blake2b(text.encode(), digest_size=32).digest()
    return int.from_bytes(digest, "little") & ((1 << bits) - 1)


def stream(seed: int, *address: Address) -> np.random.Generator:
    """Return a fresh NumPy generator that belongs to `address` below `seed`."""
    return np.random.Generator(np.random.Philox(key=integer(seed, *address, bits=128)))


def torch_stream(seed: int, *address: Address) -> torch.Generator:
    """Return a fresh PyTorch CPU generator that belongs to `address` below `seed`."""
    import torch

    return torch.Generator().manual_seed(integer(seed, *address))


@dataclass(frozen=True)
class Streams:
    """All random streams below one seed; calling it with an address gives that address's generator."""

    seed: int

    def __call__(self, *address: Address) -> np.random.Generator:
        """Return a fresh generator for `address`."""
        return stream(self.seed, *address)

    def each(self, addresses: Iterable[tuple[Address, ...]]) -> Iterator[np.random.Generator]:
        """Yield the generator of every address in turn, each of use until the next: one object, set anew.

        That takes a quarter of the time of making one, which reads entropy for a seed that a key replaces.

        Args:
            addresses: As the streams themselves are called with, one after another.
        """
        bits = np.random.Philox(key=0)
        generator, start = np.random.Generator(bits), bits.state
        for address in addresses:
            key = integer(self.seed, *address, bits=128)
            start["state"]["key"] = np.array([key & (2**64 - 1), key >> 64], dtype=np.uint64)
            bits.state = start
            yield generator

    def integer(self, *address: Address) -> int:
        """Return the 63-bit integer at `address`."""
        return integer(self.seed, *address)

    def trial_seed(self, trial: int) -> int:
        """Return the seed of a trial's initialisation and data order."""
        return self.integer("trial", trial)
