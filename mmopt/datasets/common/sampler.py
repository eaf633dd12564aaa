"""One seeded order of samples, cut among ranks, that starts at any position without replay.

The order is an endless stream: epoch after epoch, each a permutation drawn from (seed, epoch). Sample ``k`` of the
stream is sample ``k % N`` of epoch ``k // N``. Rank ``r`` of ``W`` takes positions ``r, r + W, r + 2 W, ...``: a global
batch is one contiguous piece of the stream whatever ``W`` is, so a run may resume on another number of processes.
"""

import math
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmopt.registry import DATA_SAMPLERS
from mmopt.utils.seeding import SampleIndex

__all__ = ['EvaluationSampler', 'ResumableSampler']


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler[SampleIndex]):
    """Training order with O(1) resume.

    Args:
        dataset: The data set; only its length is used.
        shuffle: Draw a new permutation each epoch; otherwise the data set's own order, each epoch alike.
        seed: Seed of the permutations and of the per-sample generators. The runner passes its own when this is None
            in the config.
        endless: Go on into the next epoch without a partial batch (iteration-based runs). Otherwise an iterator ends
            with its epoch (epoch-based runs), and every rank gets as many samples as the others: the last few
            positions are filled from the epoch's beginning.

    Raises:
        ValueError: If the data set is empty.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, *, endless: bool = False) -> None:
        if not len(dataset):
            raise ValueError(
                f'The training data set ({type(dataset).__name__}) has no samples: check its data_root and ann_file.'
            )
        self.rank, self.world_size = get_dist_info()
        self.num_samples = len(dataset)
        self.shuffle = shuffle
        self.seed = 0 if seed is None else seed
        self.endless = endless
        self.epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iterator (epoch-based runs)."""
        self.epoch = epoch
        self._start = 0

    def set_position(self, position: int) -> None:
        """Start the next iterator at this many samples of the global stream, counted over all ranks.

        Args:
            position: Samples consumed by all ranks since the run began; in an epoch-based run the epoch follows from
                it, and a later :meth:`set_epoch` begins that epoch from its first sample.
        """
        self.epoch, self._start = divmod(position, self.epoch_length)

    @property
    def epoch_length(self) -> int:
        """Samples of one epoch over all ranks, the repeated ones of a non-dividing world size included."""
        if self.endless:
            return self.num_samples
        return math.ceil(self.num_samples / self.world_size) * self.world_size

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.num_samples)
        # The epoch enters as a second word of the key, with a tag that keeps it apart from every sample_rng.
        key = np.array([self.seed & 0xFFFFFFFFFFFFFFFF, (1 << 63) | epoch], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).permutation(self.num_samples)

    def __iter__(self) -> Iterator[SampleIndex]:
        epoch, start = self.epoch, self._start
        if not self.endless:
            order = np.resize(self._order(epoch), self.epoch_length)  # np.resize repeats from the beginning
            for value in order[start + self.rank :: self.world_size].tolist():
                yield SampleIndex(value, self.seed, epoch)
            return
        position = epoch * self.num_samples + start + self.rank
        while True:
            epoch, first = divmod(position, self.num_samples)
            values = self._order(epoch)[first :: self.world_size].tolist()
            for value in values:
                yield SampleIndex(value, self.seed, epoch)
            position += len(values) * self.world_size

    def __len__(self) -> int:
        """Count the samples of one epoch on this rank; an endless sampler, too, reports one epoch."""
        return math.ceil(self.num_samples / self.world_size)


@DATA_SAMPLERS.register_module()
class EvaluationSampler(Sampler[SampleIndex]):
    """Every sample exactly once over all ranks, in order: no padding, so no sample counts twice in a metric.

    Args:
        dataset: The data set; only its length is used.
        shuffle: Must be False; present because MMEngine passes it.
        seed: Seed of the per-sample generators.

    Raises:
        ValueError: If ``shuffle`` is true.
    """

    def __init__(self, dataset: Sized, shuffle: bool = False, seed: int | None = None) -> None:
        if shuffle:
            raise ValueError('EvaluationSampler never shuffles: an evaluation must not depend on the order.')
        self.rank, self.world_size = get_dist_info()
        self.num_samples = len(dataset)
        self.seed = 0 if seed is None else seed

    def __iter__(self) -> Iterator[SampleIndex]:
        return (SampleIndex(value, self.seed) for value in range(self.rank, self.num_samples, self.world_size))

    def __len__(self) -> int:
        return len(range(self.rank, self.num_samples, self.world_size))
