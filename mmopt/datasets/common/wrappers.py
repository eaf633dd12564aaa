"""MMEngine's data set wrappers, with the sample's private randomness led through to the data set inside.

MMEngine's own turn the index into a plain ``int``, which would give every epoch the same augmentation. Here the index
keeps seed and epoch, and copies of one sample within an epoch, or equal indices of two data sets, get different seeds.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.dataset import ClassBalancedDataset as _ClassBalancedDataset
from mmengine.dataset import ConcatDataset as _ConcatDataset
from mmengine.dataset import RepeatDataset as _RepeatDataset

from mmopt.registry import DATASETS
from mmopt.utils.seeding import SampleIndex

__all__ = ['ClassBalancedDataset', 'ConcatDataset', 'RepeatDataset']

# 2^64 / golden ratio: multiples of it lie far from each other and from the small seeds that people choose.
_STRIDE = 0x9E3779B97F4A7C15


def _inner(index: int, local: int, copy: int) -> SampleIndex:
    """Return the index inside a wrapper: ``copy`` counts what shares the local index within an epoch."""
    seed = (getattr(index, 'seed', 0) + copy * _STRIDE) & 0xFFFFFFFFFFFFFFFF
    return SampleIndex(local, seed, getattr(index, 'epoch', 0))


class _PreparesCaches:
    """Hand the call on to the data sets inside."""

    dataset: Any  # of MMEngine's wrapper

    def prepare_cache(self, *args, **kwargs) -> None:
        """See :meth:`mmopt.datasets.common.SeededDataset.prepare_cache`."""
        for inside in getattr(self, 'datasets', None) or [self.dataset]:
            inside.prepare_cache(*args, **kwargs)


def _build(dataset: BaseDataset | dict) -> BaseDataset:
    # MMEngine's wrappers ask the root registry, which finds our types only inside a runner.
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


@DATASETS.register_module()
class ConcatDataset(_PreparesCaches, _ConcatDataset):
    """Data sets one after the other.

    Args:
        datasets: Data sets or their configs; all have the same metainfo.
        lazy_init: Do not load the annotations yet.
        ignore_keys: Keys of the metainfo that may differ.
    """

    def __init__(
        self,
        datasets: Sequence[BaseDataset | dict],
        lazy_init: bool = False,
        ignore_keys: str | list[str] | None = None,
    ) -> None:
        super().__init__([_build(dataset) for dataset in datasets], lazy_init, ignore_keys)

    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, SampleIndex]:
        which, local = super()._get_ori_dataset_idx(idx)
        return which, _inner(idx, local, which)


@DATASETS.register_module()
class RepeatDataset(_PreparesCaches, _RepeatDataset):
    """One data set several times within an epoch.

    Args:
        dataset: The data set or its config.
        times: How often.
        lazy_init: Do not load the annotations yet.
    """

    def __init__(self, dataset: BaseDataset | dict, times: int, lazy_init: bool = False) -> None:
        super().__init__(_build(dataset), times, lazy_init)

    def _get_ori_dataset_idx(self, idx: int) -> SampleIndex:
        return _inner(idx, super()._get_ori_dataset_idx(idx), idx // self._ori_len)


@DATASETS.register_module()
class ClassBalancedDataset(_PreparesCaches, _ClassBalancedDataset):
    """Samples of rare classes several times within an epoch.

    Args:
        dataset: The data set or its config; it has ``get_cat_ids(idx)``.
        oversample_thr: Frequency of a class below which its samples are repeated.
        lazy_init: Do not load the annotations yet.
    """

    def __init__(self, dataset: BaseDataset | dict, oversample_thr: float, lazy_init: bool = False) -> None:
        super().__init__(_build(dataset), oversample_thr, lazy_init)

    def _get_ori_dataset_idx(self, idx: int) -> SampleIndex:
        local = super()._get_ori_dataset_idx(idx)
        return _inner(idx, local, idx - bisect_left(self.repeat_indices, local))
