"""A data set of mmcv 1.x in the contract of mmopt's loaders: its samples depend on (seed, epoch, index) alone.

mmcv 1.x draws from the global generators of NumPy, Python and torch, whose state depends on all that was drawn before.
Here they are seeded per sample, so that a run resumes bit for bit and does not depend on the number of workers.
"""

import inspect
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from torch.utils.data import Dataset, get_worker_info

from mmopt.mmcv1.adapt.find import find_build_dataset
from mmopt.mmcv1.standins.collate import mmcv1_collate
from mmopt.registry import DATASETS, FUNCTIONS
from mmopt.utils.seeding import SampleIndex, sample_rng

__all__ = ['MMCV1Dataset']

FUNCTIONS.register_module(name='mmcv1_collate', module=mmcv1_collate)
_STREAM = 0x2545F4914F6CDD1D  # keeps these streams apart from those of mmopt's own samples
_FOR_SAMPLES = np.random.MT19937(0)


@contextmanager
def _seeded(index: int) -> Iterator[None]:
    """Seed the global generators by one sample; outside of workers, put them back afterwards."""
    seed, epoch = getattr(index, 'seed', 0), getattr(index, 'epoch', 0)
    drawn = sample_rng(SampleIndex(index, seed ^ _STREAM, epoch)).integers(1 << 32, size=3).tolist()
    is_worker = get_worker_info() is not None  # nobody else draws there
    if not is_worker:
        # NumPy takes 0.1 ms to read and set its state, and 0.3 us to draw from another generator meanwhile.
        before = np.random.get_bit_generator(), random.getstate(), torch.default_generator.get_state()
        np.random.set_bit_generator(_FOR_SAMPLES)
    np.random.seed(drawn[0])
    random.seed(drawn[1])
    torch.default_generator.manual_seed(drawn[2])
    try:
        yield
    finally:
        if not is_worker:
            np.random.set_bit_generator(before[0])
            random.setstate(before[1])
            torch.default_generator.set_state(before[2])


@DATASETS.register_module()
class MMCV1Dataset(Dataset):
    """A repository's data set; what it has beside samples (``evaluate``, ``flag``, ``CLASSES``...) is passed on.

    Args:
        source: Its config, as the repository has it: a dict, or a list of them.
        test_mode: Build it for an evaluation.
    """

    def __init__(self, source: Mapping[str, Any] | Sequence[Mapping[str, Any]], test_mode: bool = False) -> None:
        first = source[0] if isinstance(source, Sequence) else source
        build = find_build_dataset(first['type'])
        config = ConfigDict(source=source).source
        if test_mode and 'default_args' in inspect.signature(build).parameters:
            self.inner: Any = build(config, default_args=dict(test_mode=True))
        else:
            self.inner = build(config)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        with _seeded(index):
            return self.inner[int(index)]

    def __getattr__(self, name: str) -> Any:
        if name == 'inner':  # not there yet: while it is unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Names and colors of the classes, as MMEngine calls them."""
        found = dict(classes=getattr(self.inner, 'CLASSES', None), palette=getattr(self.inner, 'PALETTE', None))
        return {key: value for key, value in found.items() if value is not None}
