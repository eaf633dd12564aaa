"""Which transforms of a pipeline give the same in every epoch, and what they make of a sample.

A prefix ends before the first transform that draws random numbers, reads the epoch, or returns what cannot be stored
(the packed sample). Nothing has to be declared: while samples are stored, the generator and the epoch are replaced by a
guard that cannot be used, and Python's, NumPy's and torch's global generators are compared before and after. A
transform that is neither mmopt's nor mmcv's may keep a generator of its own, so it must say ``deterministic = True``.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch

from mmopt.datasets.common.cache.records import NotStorableError, encode

__all__ = ['PrefixEndsError', 'Probe', 'longest_worthwhile', 'probe_samples', 'run_prefix']

# What a stored byte costs when it is read again; a transform that makes more bytes than it takes time is run anew.
_READ_BYTES_PER_S = 1e9
_OURS = ('mmopt', 'mmcv')
_SET_ANEW = ('rng', 'epoch')


class PrefixEndsError(Exception):
    """A transform cannot be part of what is stored.

    Args:
        place: Its place in the pipeline.
    """

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason


class _UsedError(Exception):
    """Somebody used a guard."""


class _Guard:
    """Stands where what changes from epoch to epoch stands; any use of it raises."""

    def __init__(self, what: str) -> None:
        object.__setattr__(self, '_what', what)

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _UsedError(object.__getattribute__(self, '_what'))

    __getattr__ = __call__ = __bool__ = __int__ = __index__ = __float__ = __iter__ = __len__ = __getitem__ = _refuse
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __mod__ = _refuse
    __hash__ = __floordiv__ = __truediv__ = __format__ = __str__ = _refuse

    def __copy__(self) -> '_Guard':
        return self

    def __deepcopy__(self, memo: dict) -> '_Guard':
        return self


def _global_states() -> tuple:
    state: Any = np.random.get_state()
    kind, keys, *rest = state
    return random.getstate(), kind, keys.tobytes(), rest, torch.get_rng_state().numpy().tobytes()


def _is_ours(transform: Callable) -> bool:
    return (getattr(transform, '__module__', None) or '').split('.')[0] in _OURS


def _start(info: dict, index: int) -> dict:
    return info | dict(rng=_Guard('draws random numbers'), epoch=_Guard('reads the epoch'), fields=[], sample_idx=index)


def _apply(transform: Callable, place: int, results: dict) -> dict:
    """Run one transform; raise if it is not the same every time."""
    says = getattr(transform, 'deterministic', None)
    foreign = not (getattr(transform, '__module__', None) or '').startswith('mmopt.')
    if says is False or (says is None and not _is_ours(transform)):
        reason = 'says deterministic = False' if says is False else 'does not say deterministic = True'
        raise PrefixEndsError(place, reason)
    before = _global_states() if foreign else None
    try:
        results = transform(results)
    except _UsedError as error:
        raise PrefixEndsError(place, str(error.args[0])) from None
    if before is not None and _global_states() != before:
        raise PrefixEndsError(place, 'draws random numbers')
    if not isinstance(results, dict):
        raise PrefixEndsError(place, f'returns a {type(results).__name__}')
    return results


def _frozen(value: Any) -> bytes | None:
    try:
        return encode(dict(value=value))
    except NotStorableError:
        return None


def _change(before: dict[str, tuple[Any, bytes | None]], results: dict) -> dict[str, Any]:
    """Return what is new or different, and under ``''`` the keys that are gone."""
    changed = {}
    for key, value in results.items():
        if key in _SET_ANEW:
            continue
        if key in before:
            old, frozen = before[key]
            if value is old and frozen is None:
                continue
            if frozen is not None and _frozen(value) == frozen:
                continue
        changed[key] = value
    return changed | {'': [key for key in before if key not in results]}


def _snapshot(results: dict) -> dict[str, tuple[Any, bytes | None]]:
    return {key: (value, _frozen(value)) for key, value in results.items() if key not in _SET_ANEW}


def run_prefix(info: dict, index: int, transforms: Sequence[Callable]) -> bytes:
    """Run transforms on one sample and return what they changed, as a record.

    Args:
        info: What the data set says of the sample.
        index: The sample.
        transforms: The prefix.

    Returns:
        The record.

    Raises:
        PrefixEndsError: If a transform turns out not to be the same every time, or its result cannot be stored.
    """
    results = _start(info, index)
    before = _snapshot(results)
    for place, transform in enumerate(transforms):
        results = _apply(transform, place, results)
    try:
        return encode(_change(before, results))
    except NotStorableError as error:
        raise PrefixEndsError(len(transforms) - 1, f'makes what cannot be stored: {error}') from error


@dataclass(frozen=True)
class Probe:
    """What the prefixes of a pipeline are, measured on a few samples.

    Attributes:
        num_bytes: Mean size of the record after each transform, as far as the prefix goes.
        seconds: Median time of each of them.
        reason: Why the next transform is not part of it; empty if none is left.
    """

    num_bytes: tuple[float, ...]
    seconds: tuple[float, ...]
    reason: str

    def cut(self, length: int, reason: str) -> 'Probe':
        """Return the same for a prefix that turned out shorter."""
        return Probe(self.num_bytes[:length], self.seconds[:length], reason)


def probe_samples(infos: Mapping[int, dict], transforms: Sequence[Callable]) -> Probe:
    """Run a pipeline on some samples, each as far as it is the same every time; the shortest prefix counts.

    Args:
        infos: What the data set says of each sample, by index.

    Returns:
        The measurements.
    """
    rows = [_probe(info, index, transforms) for index, info in infos.items()]
    shortest = min(rows, key=lambda row: len(row[0]))
    length = len(shortest[0])
    sizes = tuple(statistics.mean(row[0][place] for row in rows) for place in range(length))
    seconds = tuple(statistics.median(row[1][place] for row in rows) for place in range(length))
    return Probe(sizes, seconds, shortest[2])


def _probe(info: dict, index: int, transforms: Sequence[Callable]) -> tuple[list[int], list[float], str]:
    results = _start(info, index)
    before = _snapshot(results)
    num_bytes: list[int] = []
    seconds: list[float] = []
    for place, transform in enumerate(transforms):
        started = time.perf_counter()
        try:
            results = _apply(transform, place, results)
            took_s = time.perf_counter() - started
            num_bytes.append(len(encode(_change(before, results))))
        except PrefixEndsError as error:
            return num_bytes, seconds, f'{_name(transform)} {error.reason}'
        except NotStorableError as error:
            return num_bytes, seconds, f'{_name(transform)} makes what cannot be stored ({error})'
        seconds.append(took_s)
    return num_bytes, seconds, ''


def _name(transform: Callable) -> str:
    return getattr(transform, '__name__', None) or type(transform).__name__


def longest_worthwhile(probe: Probe) -> int:
    """Return how many transforms to store: the most time saved, less the time that reading the bytes takes.

    ``Normalize`` takes 1 ms and makes three bytes more of each: run anew, it costs less than reading them.
    """
    best, most, saved = 0, 0.0, 0.0
    for count, (size, took_s) in enumerate(zip(probe.num_bytes, probe.seconds, strict=True), start=1):
        saved += took_s
        if saved - size / _READ_BYTES_PER_S > most:
            best, most = count, saved - size / _READ_BYTES_PER_S
    return best
