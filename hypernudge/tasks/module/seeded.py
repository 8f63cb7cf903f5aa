"""A while under a seed of one's own, for code that draws from global random number generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_WORD = 0xFFFFFFFF


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators for a while, and put them back afterwards.

    They are those of Python, of NumPy (the legacy one) and of PyTorch, on the CPU and on CUDA devices. A
    generator that an object keeps for itself is out of reach.
    """
    with _python(), _numpy(), _torch():
        reseed(seed)
        yield


def reseed(seed: int) -> None:
    """Seed the global generators, as `seeded` does, without a way back."""
    random.seed(seed)
    np.random.seed([seed & _WORD, seed >> 32 & _WORD])  # noqa: NPY002 -- users' code draws from it
    seed_torch(seed)


def seed_torch(seed: int) -> None:
    """Seed PyTorch's global generators on all devices, as `torch.manual_seed`.

    Where there is no device but the CPU, that would note for each of the others who has asked, in a fifth of
    a millisecond: the time of a small training step.
    """
    if torch.cuda.is_available() or torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def _python() -> Iterator[None]:
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def _numpy() -> Iterator[None]:
    before = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def _torch() -> Iterator[None]:
    ready = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if ready else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        # Seeds that are set before CUDA starts wait for it: put the user's back in line.
        if not ready and torch.cuda.is_available() and not torch.cuda._is_in_bad_fork():
            torch.cuda.manual_seed_all(torch.initial_seed())
