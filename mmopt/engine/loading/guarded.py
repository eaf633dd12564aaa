"""A loader for which nothing that a data set does wrong passes in silence, and whose samples draw numbers of their own.

torch's loader takes a ``StopIteration`` from a data set for the end of the epoch, gives the workers of every epoch the
same random numbers where they are started and seeded anew, and says of samples that make no batch in which operator it
failed. Here the iterators of a loader read through a guard; ``dataset``, ``collate_fn`` and ``sampler`` of the loader
stay the user's own objects.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from mmopt.structures import Substitute, describe_samples
from mmopt.utils.errors import DataError
from mmopt.utils.numbers import is_whole
from mmopt.utils.seeding import SampleIndex, generators_aside, seed_globals
from mmopt.utils.user_code import place_in_user_code

__all__ = ['GuardedLoader', 'innermost']

# Another multiple of 2^64 than the wrappers' (repeat, concatenation), so that their seeds never meet.
_STRIDE = 0xD1B54A32D192ED03
_MASK = 0xFFFFFFFFFFFFFFFF


def _inside(dataset: Any) -> list[Any]:
    inside = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    # MMEngine's wrappers are no torch data sets.
    return [part for part in inside if isinstance(part, Dataset) or hasattr(part, 'full_init')]


def innermost(dataset: Any) -> list[Any]:
    """Return the data sets inside wrappers (``dataset``, ``datasets``), or the data set itself."""
    return [leaf for part in _inside(dataset) for leaf in innermost(part)] or [dataset]


def _may_draw(dataset: Any) -> bool:
    """Tell whether a data set, or a wrapper of the user's around it, may draw from the global generators."""
    if inside := _inside(dataset):
        is_users = type(dataset).__module__.split('.')[0] not in ('mmopt', 'mmengine', 'torch')
        return is_users or any(_may_draw(part) for part in inside)
    return not getattr(dataset, 'draws_privately', False)


class GuardedLoader(DataLoader):
    """torch's loader, whose iterators read through a guard; see the module. Made of one by :meth:`guard`."""

    seed: int
    _pass: int
    passes: int
    """Iterators begun: the epoch of the next one, where the sampler knows none. Loops set it where they jump."""

    @classmethod
    def guard(cls, loader: DataLoader, seed: int) -> 'GuardedLoader':
        """Turn a loader into a guarded one, in place.

        Args:
            loader: torch's, before its first iterator.
            seed: Of the run: samples and workers draw from it.

        Returns:
            The same object.
        """
        loader.__class__ = cls  # built by MMEngine, which names torch's class
        loader.__dict__.update(seed=seed, passes=0, _pass=0)
        return cast(GuardedLoader, loader)

    @property
    def epoch(self) -> int:
        """The epoch of the iterator that was begun last."""
        known = getattr(self.sampler, 'epoch', None)
        return known if is_whole(known) else self._pass

    def __iter__(self) -> Any:
        self._pass, self.passes = self.passes, self.passes + 1
        return super().__iter__()

    def _get_iterator(self) -> Any:
        rank, world_size = get_dist_info()
        # The base seed of the workers, from which those without indices (iterable data sets) draw.
        if self.generator is not None:
            self.generator.manual_seed((self.seed + rank * _STRIDE + self.epoch) & _MASK >> 1)
        if isinstance(self.dataset, IterableDataset):
            return super()._get_iterator()
        view = copy.copy(self)
        name = 'sampler' if self.batch_sampler is None else 'batch_sampler'
        view.__dict__ |= {
            'dataset': _GuardedDataset(self.dataset, _may_draw(self.dataset)),
            'collate_fn': _GuardedCollate(self.collate_fn),
            name: _SeededIndices(getattr(self, name), self, rank, world_size),
        }
        return DataLoader._get_iterator(view)


class _SeededIndices:
    """Give seed and epoch to the indices of a sampler that gives plain numbers, as those of other libraries do.

    A number may come up several times within an epoch (drawing with replacement, repeated augmentation), so the seed
    depends on the place in the order, not on the number.
    """

    def __init__(self, indices: Any, loader: GuardedLoader, rank: int, world_size: int) -> None:
        self._indices = indices
        self._loader = loader  # persistent workers stay with this object over all epochs
        self._rank = rank
        self._world_size = world_size

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator:
        seed, epoch, place = self._loader.seed, self._loader.epoch, self._rank + 1

        def seeded(index: Any) -> Any:
            nonlocal place
            if isinstance(index, SampleIndex) or type(index) is bool or not isinstance(index, int | np.integer):
                return index
            place += self._world_size
            return SampleIndex(int(index), (seed + place * _STRIDE) & _MASK, epoch)

        for item in self._indices:
            yield [seeded(index) for index in item] if isinstance(item, list) else seeded(item)


class _GuardedDataset:
    """A data set as the workers see it: every sample is there, or an error says what was wrong and where.

    Args:
        dataset: The user's; whatever else is asked of this one is asked of it.
        draws: Whether it may draw from the global generators, which are then seeded for every sample.
    """

    def __init__(self, dataset: Any, draws: bool) -> None:
        self.__dict__.update(_dataset=dataset, _draws=draws)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_dataset'], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._dataset, name, value)  # a user's worker_init_fn may do so

    def __reduce__(self) -> tuple:
        return _GuardedDataset, (self._dataset, self._draws)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        with self._keeping_generators():
            return self._take(self._dataset.__getitem__, index)

    def _keeping_generators(self) -> AbstractContextManager:
        # In the process that trains, dropout draws from the same generators.
        return generators_aside() if self._draws and get_worker_info() is None else nullcontext()

    def __getitems__(self, indices: Sequence) -> list:
        with self._keeping_generators():
            whole = getattr(self._dataset, '__getitems__', None)
            if whole is None:
                return [self._take(self._dataset.__getitem__, index) for index in indices]
            samples = self._take(whole, indices)
            return [self._check(sample, index) for sample, index in zip(samples, indices, strict=True)]

    def _take(self, get: Callable[[Any], Any], index: Any) -> Any:
        if self._draws:
            first = index[0] if isinstance(index, list) else index
            seed_globals(first if isinstance(first, int) else 0)
        try:
            sample = get(index)
        except (StopIteration, GeneratorExit, SystemExit) as error:
            raise DataError(self._ends(error, index)) from error
        except KeyboardInterrupt as error:
            if get_worker_info() is None:
                raise
            # In a worker it is no key: those are signals, which workers survive.
            raise DataError(self._ends(error, index)) from error
        return self._check(sample, index)

    def _ends(self, error: BaseException, index: Any) -> str:
        place = place_in_user_code(error)
        where = '' if place is None else f' ({place})'
        kind = type(error).__name__
        then = 'end the epoch without a word' if isinstance(error, StopIteration) else 'end its process'
        return (
            f'{self._name(index)} raised {kind}{where}, which would {then}: raise ValueError with the reason instead, '
            'or return a sample.'
        )

    def _check(self, sample: Any, index: Any) -> Any:
        if sample is None:
            raise DataError(
                f'{self._name(index)} is None: every index must give a sample; raise ValueError with the reason, or '
                'leave the sample out when the data set is listed.'
            )
        return sample

    def _name(self, index: Any) -> str:
        return f'{type(self._dataset).__name__}[{index}]'


@dataclass(frozen=True)
class _GuardedCollate:
    """Collate samples; where that fails because they differ, say in what.

    Attributes:
        collate: The user's.
    """

    collate: Callable[[list], Any]

    def __call__(self, samples: Any) -> Any:
        if not isinstance(samples, list):  # without a batch size: one sample
            return self.collate(samples)
        plain = [sample.sample if isinstance(sample, Substitute) else sample for sample in samples]
        if self._takes_keys_of_first:
            keys = _keys(plain[0])
            if any(_keys(sample) != keys for sample in plain):
                raise DataError(_explain(plain) or 'Samples of a batch have unequal keys.')
        try:
            return self.collate(samples)
        except Exception as error:
            text = _explain(plain)
            if text is None:
                raise
            raise DataError(text) from error

    @cached_property
    def _takes_keys_of_first(self) -> bool:
        """Whether keys that only later samples have would be dropped in silence."""
        collate: Any = self.collate
        while (inner := getattr(collate, 'func', None) or getattr(collate, 'collate', None)) is not None:
            collate = inner
        return getattr(collate, '__module__', '').split('.')[0] in ('torch', 'mmengine', 'mmopt')


def _keys(sample: Any) -> Any:
    # Of a dict the class says it at once; asking for a Mapping takes an abstract base class.
    return sample.keys() if type(sample) is dict or isinstance(sample, Mapping) else None


def _explain(samples: Sequence[Any]) -> str | None:
    """Say in what the samples of a batch differ; None if in nothing that matters."""
    difference = next(_differences(samples, ''), None)
    if difference is None:
        return None
    place, first, number, other = difference
    pair = [sample.get('data_samples') for sample in (samples[0], samples[number]) if isinstance(sample, Mapping)]
    names = describe_samples(dict(data_samples=pair))
    of = f' ({names[0]} and {names[1]})' if len(names) == 2 else ''
    where = f' in {place}' if place else ''
    return (
        f'Samples 1 and {number + 1} of a batch{of} differ{where}: {first} and {other}. Give them one size and the '
        "same keys, or name a function that takes such: collate_fn=dict(type='...')."
    )


def _differences(values: Sequence[Any], place: str) -> Iterator[tuple[str, str, int, str]]:
    """Yield in what samples differ from the first: the key, how it is there, which sample, how it is in that."""
    first = values[0]
    for number, value in enumerate(values[1:], start=1):
        if _kind(value) != _kind(first):
            yield place, _kind(first), number, _kind(value)
            return
    if isinstance(first, Mapping):
        for key in first:
            yield from _differences([value[key] for value in values], f'{place}.{key}' if place else str(key))
    elif isinstance(first, list | tuple):
        for number in range(len(first)):
            yield from _differences([value[number] for value in values], f'{place}[{number}]')


def _kind(value: Any) -> str:
    """Describe what must be alike in all samples of a batch."""
    if hasattr(value, 'shape') and hasattr(value, 'dtype'):
        return f'shape {tuple(value.shape)}'
    if isinstance(value, Mapping):
        return f'keys {sorted(map(str, value))}'
    if isinstance(value, list | tuple):
        return f'{len(value)} entries'
    return type(value).__name__
