"""The order of training samples: by groups of one shape where a data set has them, as MMDetection 2 trains."""

import math
from typing import Any

import numpy as np

from mmopt.datasets.common import ResumableSampler
from mmopt.registry import DATA_SAMPLERS

__all__ = ['MMCV1Sampler']


@DATA_SAMPLERS.register_module()
class MMCV1Sampler(ResumableSampler):
    """A resumable order in which the samples of a global batch share their group.

    A data set's ``flag`` says which group each sample is of: wide images and high ones. Each epoch, every group is
    shuffled and filled up to whole batches with samples of its own, and the batches of all groups are shuffled. Without
    ``flag`` it is a :class:`ResumableSampler`.

    Args:
        dataset: The data set.
        shuffle: False keeps the data set's own order, without groups.
        seed: See the parent.
        endless: See the parent.
        samples_per_gpu: Samples of a batch of one process.
    """

    def __init__(
        self,
        dataset: Any,
        shuffle: bool = True,
        seed: int | None = None,
        *,
        endless: bool = False,
        samples_per_gpu: int = 1,
    ) -> None:
        super().__init__(dataset, shuffle, seed, endless=endless)
        flag = getattr(dataset, 'flag', None) if shuffle else None
        self._groups: list[np.ndarray] = []
        if flag is not None and len(flag) == len(dataset):
            self._batch = samples_per_gpu * self.world_size
            flags = np.asarray(flag)
            self._groups = [np.flatnonzero(flags == value) for value in np.unique(flags)]
            self.num_samples = sum(math.ceil(len(group) / self._batch) * self._batch for group in self._groups)

    def _order(self, epoch: int) -> np.ndarray:
        if not self._groups:
            return super()._order(epoch)
        key = np.array([self.seed & 0xFFFFFFFFFFFFFFFF, (1 << 63) | epoch], dtype=np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key))
        batches = []
        for group in self._groups:
            order = rng.permutation(group)
            missing = -len(order) % self._batch
            order = np.concatenate([order, rng.choice(group, missing)]) if missing else order
            batches.append(order.reshape(-1, self._batch))
        every = np.concatenate(batches)
        return every[rng.permutation(len(every))].reshape(-1)
