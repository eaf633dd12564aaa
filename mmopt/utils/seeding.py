"""Randomness as a function of (seed, epoch, sample index): no worker, history or order enters it.

A resumed run, another number of workers, or a retried batch then sees the same augmentation without replaying anything.
A Philox generator costs 7 us to make; ``torch.manual_seed`` would cost 107 us per sample.
"""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import numpy as np
import torch
from numpy.random import mtrand
from torch.utils.data import get_worker_info

__all__ = [
    'SampleIndex',
    'generators_aside',
    'generators_kept',
    'global_generators_of',
    'prepare_determinism',
    'sample_rng',
    'seed_globals',
]

# Keeps the global generators' stream apart from the sample's own.
_GLOBAL = 0x5851F42D4C957F2D
_WORD = 0xFFFFFFFFFFFFFFFF
# Of the C class: random.seed asks for four types first, which takes longer than the seeding.
_SEED_PYTHON = super(random.Random, random._inst).seed
_SPARES: list[np.random.MT19937] = []


class SampleIndex(int):
    """A data set index that carries the run's seed and the epoch in which it is drawn.

    It is an ``int`` to every data set. Samplers yield it, and because it travels inside the index queue it reaches
    persistent workers, which never see later changes of the data set's attributes.

    Args:
        value: Index of the sample in the data set.
        seed: Seed of the run.
        epoch: Pass over the data set, from 0.
    """

    seed: int
    epoch: int

    def __new__(cls, value: int, seed: int = 0, epoch: int = 0) -> Self:
        index = super().__new__(cls, value)
        index.seed = seed
        index.epoch = epoch
        return index

    def __reduce__(self) -> tuple:
        return SampleIndex, (int(self), self.seed, self.epoch)


def sample_rng(index: int) -> np.random.Generator:
    """Return the private generator of one sample.

    Args:
        index: A :class:`SampleIndex`; a plain ``int`` counts as seed 0, epoch 0 (looking at one sample by hand).

    Returns:
        A generator whose stream depends on (seed, epoch, index) alone.
    """
    seed, epoch = getattr(index, 'seed', 0), getattr(index, 'epoch', 0)
    # Philox takes its 128-bit key as it is: no hashing of a SeedSequence (20 us), and distinct keys never collide.
    key = np.array([seed & _WORD, (epoch << 40) | int(index)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def seed_globals(index: int) -> None:
    """Seed the global generators of Python, NumPy and torch's CPU by one sample.

    Args:
        index: As for :func:`sample_rng`.
    """
    seed, epoch = getattr(index, 'seed', 0), getattr(index, 'epoch', 0)
    number = _mixed(_mixed(seed & _WORD ^ _GLOBAL) ^ (epoch << 40 | int(index)))
    _SEED_PYTHON(number)
    # Unlike numbers: the generators of both are made alike, and would draw alike.
    np.random.seed(number & 0xFFFFFFFF)
    # Takes 1 us; torch.manual_seed, which also asks for the devices, 100 to 200.
    torch.default_generator.manual_seed(number >> 32)


def _mixed(number: int) -> int:
    """Spread 64 bits: the last steps of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), 0.2 us."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _WORD
    return number ^ number >> 31


@contextmanager
def generators_kept() -> Iterator[None]:
    """Put the global generators back to where they were; they are of Python, NumPy and torch's CPU."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@contextmanager
def generators_aside() -> Iterator[None]:
    """Keep the global generators as :func:`generators_kept` does, at a sixth of its cost, for what seeds them inside.

    NumPy takes 0.1 ms to read and set its state, and 0.3 us to draw from another generator meanwhile. That one stands
    anywhere: :func:`seed_globals` before anything is drawn.
    """
    spare = _SPARES.pop() if _SPARES else np.random.MT19937(0)  # of its own, where one is inside of another
    before = mtrand.get_bit_generator(), random.getstate(), torch.default_generator.get_state()
    mtrand.set_bit_generator(spare)
    try:
        yield
    finally:
        mtrand.set_bit_generator(before[0])
        random.setstate(before[1])
        torch.default_generator.set_state(before[2])
        _SPARES.append(spare)


@contextmanager
def global_generators_of(index: int) -> Iterator[None]:
    """Seed the global generators by one sample; outside of workers, put them back afterwards.

    For transforms of other libraries, which draw from these and, in a worker, would depend on all that it did before.

    Args:
        index: As for :func:`sample_rng`.

    Yields:
        None: The generators are seeded inside.
    """
    # In a worker nobody else draws.
    with generators_aside() if get_worker_info() is None else nullcontext():
        seed_globals(index)
        yield


def prepare_determinism(randomness: Mapping[str, Any] | None) -> None:
    """Give cuBLAS workspaces of a fixed size if a run is to be deterministic; to be called before CUDA starts.

    cuBLAS reads the variable when its first handle is made, and torch 2.6 to 2.9 refuse every product without it. What
    the user has set stays.

    Args:
        randomness: MMEngine's section of that name.
    """
    if (randomness or {}).get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
