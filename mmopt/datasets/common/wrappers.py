"""MMEngine's data set wrappers, with the sample's private randomness led through to the data set inside.

MMEngine's own turn the index into a plain ``int``, which would give every epoch the same augmentation. Here the index
keeps seed and epoch, and copies of one sample within an epoch, or equal indices of two data sets, get different seeds.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dataset import ClassBalancedDataset as _ClassBalancedDataset
from mmengine.dataset import ConcatDataset as _ConcatDataset
from mmengine.dataset import RepeatDataset as _RepeatDataset
from torch.utils.data import ConcatDataset as _TorchConcatDataset

from mmopt.config.spelling import spelled
from mmopt.registry import DATASETS
from mmopt.utils.errors import DataError, UserError
from mmopt.utils.numbers import is_number
from mmopt.utils.seeding import SampleIndex

__all__ = ['OF_DATA', 'ClassBalancedDataset', 'ConcatDataset', 'RepeatDataset']

OF_DATA = 'of_data'
"""Key of a data set's metainfo for what its data holds, which checkpoints keep; a mapping."""

_MASK = 0xFFFFFFFFFFFFFFFF
# 2^64 / golden ratio: multiples of it lie far from each other and from the small seeds that people choose.
_STRIDE = 0x9E3779B97F4A7C15


def _inner(index: int, local: int, copy: int, length: int) -> SampleIndex:
    """Return the index inside a wrapper of this length: ``copy`` counts what shares the local index within an epoch.

    Wrappers in wrappers differ in length, and a hash does not commute as a sum does: the second copy of the first data
    set must not draw what the first copy of the second one does.
    """
    seed = getattr(index, 'seed', 0)
    if copy:
        seed = _hash(seed ^ _hash(copy * _STRIDE + length))
    return SampleIndex(local, seed, getattr(index, 'epoch', 0))


def _hash(value: int) -> int:
    """Mix 64 bits: the output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class _Wrapper:
    """What the wrappers share: they take any data sets, wrappers, lists and plain torch data sets among them.

    MMEngine's take data sets derived from its own alone.
    """

    dataset: Any  # of MMEngine's wrapper
    datasets: list

    def prepare_cache(self, *args, **kwargs) -> None:
        """See :meth:`mmopt.datasets.common.SeededDataset.prepare_cache`."""
        for inside in _inside(self):
            if not hasattr(inside, 'prepare_cache'):
                raise UserError(
                    f'{spelled("train_dataloader.cache")}: {type(inside).__name__} in the {type(self).__name__} '
                    'cannot store '
                    'its samples. Derive it from mmopt.datasets.common.SeededDataset, or drop the key.'
                )
            inside.prepare_cache(*args, **kwargs)

    def _list_inside(self) -> None:
        for inside in _inside(self):
            if hasattr(inside, 'full_init'):
                inside.full_init()
            if not len(inside):
                raise DataError(f'{type(self).__name__}: {type(inside).__name__} in it has no samples.')


def _inside(wrapper: Any) -> list:
    """Return the data sets in a wrapper, empty if it is none."""
    datasets = getattr(wrapper, 'datasets', None)
    return list(datasets) if datasets else [wrapper.dataset] if hasattr(wrapper, 'dataset') else []


def _metainfo(dataset: Any) -> dict:
    return getattr(dataset, 'metainfo', {})


def _build(dataset: Any) -> Any:
    # MMEngine's wrappers ask the root registry, which finds our types only inside a runner.
    if isinstance(dataset, list | tuple):
        return ConcatDataset(dataset) if len(dataset) > 1 else _build(*dataset)
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


@DATASETS.register_module()
class ConcatDataset(_Wrapper, _ConcatDataset):
    """Data sets one after the other.

    Args:
        datasets: Data sets or their configs; all have the same metainfo, but for what it tells of the data itself
            (:data:`OF_DATA`): lists in it are united, of the rest the first counts.
        lazy_init: Do not load the annotations yet.
        ignore_keys: Keys of the metainfo that may differ.

    Raises:
        UserError: If the metainfo differs.
        DataError: If one has no samples.
    """

    def __init__(
        self,
        datasets: Sequence[BaseDataset | dict],
        lazy_init: bool = False,
        ignore_keys: str | list[str] | None = None,
    ) -> None:
        self.datasets = [_build(dataset) for dataset in datasets]
        self.ignore_keys = [ignore_keys] if isinstance(ignore_keys, str) else list(ignore_keys or ())
        self._metainfo = _metainfo(self.datasets[0])
        self._compare_metainfo()
        self._unite_facts()
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def _compare_metainfo(self) -> None:
        first = self._metainfo
        for number, dataset in enumerate(self.datasets[1:], start=2):
            other = _metainfo(dataset)
            for key in (first.keys() | other.keys()) - {OF_DATA, *self.ignore_keys}:
                if key in first and key in other and np.array_equal(first[key], other[key]):
                    continue
                values = [repr(meta[key]) if key in meta else 'nothing' for meta in (first, other)]
                raise UserError(
                    f'ConcatDataset: metainfo.{key} of data set 1 ({type(self.datasets[0]).__name__}) is {values[0]}, '
                    f'of data set {number} ({type(dataset).__name__}) {values[1]}, and a model sees one of them; make '
                    f'them alike, or take the first: ignore_keys=[{key!r}].'
                )

    def _unite_facts(self) -> None:
        united: dict[str, Any] = {}
        for dataset in self.datasets:
            for key, value in _metainfo(dataset).get(OF_DATA, {}).items():
                before = united.setdefault(key, value)
                if isinstance(value, tuple):
                    united[key] = tuple(dict.fromkeys((*before, *value)))
        if united:
            self._metainfo[OF_DATA] = united

    def full_init(self) -> None:
        """List the samples of all."""
        if not self._fully_initialized:
            self._list_inside()
            _TorchConcatDataset.__init__(self, self.datasets)
            self._fully_initialized = True

    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, SampleIndex]:
        which, local = super()._get_ori_dataset_idx(idx)
        return which, _inner(idx, local, which, len(self))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes of a sample."""
        which, local = self._get_ori_dataset_idx(idx)
        return self.datasets[which].get_cat_ids(local)


@DATASETS.register_module()
class RepeatDataset(_Wrapper, _RepeatDataset):
    """One data set several times within an epoch.

    Args:
        dataset: The data set or its config; a list is concatenated.
        times: How often.
        lazy_init: Do not load the annotations yet.

    Raises:
        UserError: If ``times`` is no positive whole number.
        DataError: If the data set has no samples.
    """

    def __init__(self, dataset: BaseDataset | dict | Sequence, times: int, lazy_init: bool = False) -> None:
        if not is_number(times) or times < 1 or times != int(times):
            raise UserError(f'RepeatDataset: times must be a whole number of at least 1, got {times!r}.')
        self.dataset = _build(dataset)
        self.times = int(times)
        self._metainfo = _metainfo(self.dataset)
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """List the samples."""
        if not self._fully_initialized:
            self._list_inside()
            self._ori_len = len(self.dataset)
            self._fully_initialized = True

    def _get_ori_dataset_idx(self, idx: int) -> SampleIndex:
        return _inner(idx, super()._get_ori_dataset_idx(idx), idx // self._ori_len, len(self))

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes of a sample."""
        return self.dataset.get_cat_ids(self._get_ori_dataset_idx(idx))


@DATASETS.register_module()
class ClassBalancedDataset(_Wrapper, _ClassBalancedDataset):
    """Samples of rare classes several times within an epoch.

    Args:
        dataset: The data set or its config, a list is concatenated; it has ``get_cat_ids(idx)``.
        oversample_thr: Frequency of a class below which its samples are repeated.
        lazy_init: Do not load the annotations yet.

    Raises:
        UserError: If the data set has no ``get_cat_ids``.
        DataError: If it has no samples.
    """

    def __init__(self, dataset: BaseDataset | dict | Sequence, oversample_thr: float, lazy_init: bool = False) -> None:
        self.dataset = _build(dataset)
        self.oversample_thr = oversample_thr
        self._metainfo = _metainfo(self.dataset)
        if lacking := _without_cat_ids(self.dataset):
            raise UserError(
                f'ClassBalancedDataset counts classes by get_cat_ids(idx), which {type(lacking).__name__} lacks: '
                'define it there (a list of the class numbers in sample idx), or repeat all samples alike with '
                'RepeatDataset.'
            )
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """List the samples and count their classes."""
        if not self._fully_initialized:
            self._list_inside()
            factors = self._get_repeat_factors(self.dataset, self.oversample_thr)
            self.repeat_indices = [index for index, factor in enumerate(factors) for _ in range(math.ceil(factor))]
            self._fully_initialized = True

    def _get_ori_dataset_idx(self, idx: int) -> SampleIndex:
        local = super()._get_ori_dataset_idx(idx)
        return _inner(idx, local, idx - bisect_left(self.repeat_indices, local), len(self))


def _without_cat_ids(dataset: Any) -> Any:
    """Return the data set that cannot tell classes, the data set itself or one that it wraps; None if all can."""
    if inside := _inside(dataset) if isinstance(dataset, _Wrapper) else []:
        return next((lacking for part in inside if (lacking := _without_cat_ids(part)) is not None), None)
    method = getattr(type(dataset), 'get_cat_ids', None)
    return dataset if method is None or method is BaseDataset.get_cat_ids else None
