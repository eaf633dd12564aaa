"""Find the cache of a data set, or make it: once, whoever asks first.

A cache lies in ``<cache_dir>/<data set>-<key>``: ``samples.bin``, ``places.npy`` and, written last, ``meta.json``;
without that there is no cache. The key covers the transforms that are stored, what the data set says of every sample,
and size and time of every file it names. A lock on ``lock`` makes a second process wait for the first; the system drops
the lock of a process that dies.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmopt.config.spelling import spelled
from mmopt.datasets.common.cache.fingerprint import digest_of_samples, digests_of_prefixes
from mmopt.datasets.common.cache.prefix import PrefixEndsError, Probe, longest_worthwhile, probe_samples
from mmopt.datasets.common.cache.store import SampleStore
from mmopt.datasets.common.cache.write import write_records
from mmopt.utils.errors import UserError
from mmopt.utils.host import available_host_bytes
from mmopt.utils.memory import GIB
from mmopt.utils.platform import anonymous_file, file_lock, is_anonymous_file, open_for_update
from mmopt.utils.terminal import number, seconds

__all__ = ['CachedPrefix', 'lock', 'open_cache']

_FORMAT = 1
_NUM_PROBES = 5
# Of what is free: samples differ in size, and others write as well.
_DISK_SHARE, _RAM_SHARE = 0.95, 0.8
_SAY_AGAIN_AFTER_S = 10.0


@dataclass(frozen=True)
class CachedPrefix:
    """The first transforms of a pipeline, already run.

    Attributes:
        store: What they changed, by sample.
        length: How many they are.
    """

    store: SampleStore
    length: int


@dataclass(frozen=True)
class Source:
    """What is stored.

    Attributes:
        name: Name of the data set, for messages.
        info: Gives what the data set says of a sample.
        count: Samples.
    """

    name: str
    info: Callable[[int], dict]
    count: int
    transforms: Sequence[Callable]


def _say(text: str) -> None:
    print_log(f'{spelled("train_dataloader.cache")}: {text}', logger='current')


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file's lock; wait for whoever has it, and say so.

    Args:
        path: The file; made if it is missing.

    Yields:
        None: The lock is held inside.
    """
    timeout_s = 0.0
    while True:
        with file_lock(path, timeout_s) as is_held:
            if is_held:
                yield
                return
        _say(f'another process is building {path.parent}; waiting for it.')
        timeout_s = _SAY_AGAIN_AFTER_S


def open_cache(
    source: Source, mode: str, folder: Path, ram_folder: Path, num_workers: int | None = None
) -> CachedPrefix | None:
    """Return the cache of a data set; build it if there is none.

    Args:
        source: The data set.
        mode: ``'disk'`` or ``'ram'``.
        folder: Where caches on disk lie.
        ram_folder: Where processes of this machine tell each other of caches in memory.
        num_workers: Processes that build; by default one per core.

    Returns:
        The cache; None if nothing of the pipeline is the same every time, which is said.

    Raises:
        UserError: If there is too little space, or the folder cannot be written to.
    """
    if not source.count:
        return None  # the sampler says what is wrong with an empty data set
    chosen = sorted({int(place) for place in np.linspace(0, source.count - 1, _NUM_PROBES)})
    probe = probe_samples({index: source.info(index) for index in chosen}, source.transforms)
    samples = digest_of_samples([source.info(index) for index in range(source.count)])
    keys = [f'{digest[:12]}{samples[:12]}' for digest in digests_of_prefixes(source.transforms[: len(probe.seconds)])]
    place = _Disk(folder, source, samples) if mode == 'disk' else _Ram(ram_folder, source)
    while True:
        for length in range(len(probe.seconds), 0, -1):
            store = place.find(keys[length - 1])
            if store is not None:
                return CachedPrefix(store, length)
        length = longest_worthwhile(probe)
        if not length:
            print_log(
                f'{spelled("train_dataloader.cache")}={mode!r} had no effect on {source.name}: '
                + (f'{probe.reason}, and nothing before it is worth storing' if probe.reason else 'it takes no time')
                + '. Drop it, or place transforms that are the same in every epoch first.',
                logger='current',
                level=30,
            )
            return None
        try:
            return CachedPrefix(place.build(keys[length - 1], length, probe, num_workers), length)
        except PrefixEndsError as error:
            name = type(source.transforms[error.place]).__name__
            _say(f'{name} {error.reason} for some samples: storing what comes before it.')
            probe = probe.cut(error.place, f'{name} {error.reason}')


def _size(num_bytes: float) -> str:
    return f'{num_bytes / GIB:.3g} GiB' if num_bytes > GIB / 10 else f'{num_bytes / GIB * 1024:.3g} MiB'


def _needed(source: Source, probe: Probe, length: int) -> int:
    return int(probe.num_bytes[length - 1] * source.count)


def _describe(source: Source, length: int, num_bytes: float) -> str:
    names = ', '.join(getattr(t, '__name__', None) or type(t).__name__ for t in source.transforms[:length])
    return f'{number(source.count)} samples of {source.name} after {names}, {_size(num_bytes)}'


def _too_large(what: str, needed: int, free: int, source: Source, remedy: str) -> UserError:
    return UserError(
        f'{spelled("train_dataloader.cache")}: {number(source.count)} samples of {source.name} take about '
        f'{_size(needed)}; {what} has '
        f'{_size(free)} free. {remedy}'
    )


class _Disk:
    """Caches in a folder."""

    def __init__(self, folder: Path, source: Source, samples: str) -> None:
        self.folder = folder
        self.source = source
        self.samples = samples

    def _path(self, key: str) -> Path:
        return self.folder / f'{self.source.name}-{key}'

    def find(self, key: str) -> SampleStore | None:
        path = self._path(key)
        try:
            meta = json.loads((path / 'meta.json').read_text(encoding='utf-8'))
            places = np.load(path / 'places.npy')
        except (OSError, ValueError):
            return None
        fits = meta.get('format') == _FORMAT and len(places) == self.source.count
        data = path / 'samples.bin'
        if not fits or not data.is_file() or data.stat().st_size < int(places.sum(1).max(initial=1)):
            return None  # cut short by a copy, or of another version: made anew
        with suppress(OSError):
            os.utime(path / 'meta.json')  # when it was last of use
        return SampleStore(data, places)

    def build(self, key: str, length: int, probe: Probe, num_workers: int | None) -> SampleStore:
        path = self._path(key)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with lock(path / 'lock'):
                return self.find(key) or self._fill(path, length, probe, num_workers)
        except PermissionError as error:
            raise UserError(
                f'{spelled("train_dataloader.cache")}: {error.filename} cannot be written to ({error.strerror}). Set '
                f'{spelled("train_dataloader.cache_dir")} to a folder of yours.'
            ) from error

    def _fill(self, path: Path, length: int, probe: Probe, num_workers: int | None) -> SampleStore:
        source, data, journal = self.source, path / 'samples.bin', path / 'journal'
        needed = _needed(source, probe, length)
        free, there = shutil.disk_usage(path).free, data.stat().st_size if data.exists() else 0
        if needed - there > _DISK_SHARE * free:
            remedy = (
                f'Set {spelled("train_dataloader.cache_dir")} to a folder on a larger disk, or drop '
                f'{spelled("train_dataloader.cache")}.'
            )
            raise _too_large(str(path.parent), needed, free, source, remedy + self._others(path))
        (path / 'meta.json').unlink(missing_ok=True)
        begun = ', going on with an interrupted build' if journal.exists() else ''
        _say(f'storing {_describe(source, length, needed)} in {path}{begun}.')
        started = time.perf_counter()
        fd, is_open = open_for_update(data), True
        try:
            places = write_records(
                source.info,
                source.count,
                source.transforms[:length],
                fd,
                data,
                journal,
                title=spelled('train_dataloader.cache'),
                num_workers=num_workers,
            )
            os.fsync(fd)
        except PrefixEndsError:
            os.close(fd)  # Windows deletes no open file
            is_open = False
            data.unlink()
            journal.unlink()
            raise
        finally:
            if is_open:
                os.close(fd)
        _write_synced(path / 'places.npy', lambda file: np.save(file, places))
        meta = dict(format=_FORMAT, samples=self.samples, count=source.count, bytes=int(places[:, 1].sum()))
        _write_synced(path / 'meta.json', lambda file: file.write(json.dumps(meta, indent=2).encode()))
        journal.unlink()
        _say(f'stored in {seconds(time.perf_counter() - started)}.{self._others(path)}')
        return SampleStore(data, places)

    def _others(self, path: Path) -> str:
        """Name caches beside this one, the longest unused first: nobody else will ever delete them."""
        others = [meta.parent for meta in self.folder.glob('*/meta.json') if meta.parent != path]
        if not others:
            return ''
        others.sort(key=lambda other: (other / 'meta.json').stat().st_mtime)
        size = sum((other / 'samples.bin').stat().st_size for other in others if (other / 'samples.bin').exists())
        return f' {len(others)} other cache(s) there take {_size(size)}; longest unused: {others[0]}.'


def _write_synced(path: Path, write: Callable[[Any], object]) -> None:
    partial = path.with_name(f'{path.name}.partial')
    with partial.open('wb') as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class _Ram:
    """Caches in anonymous memory: gone with the last process that uses them, however it ends.

    The processes of one machine (the ranks of a run, two runs on the same data) share one: the first notes its process
    and descriptor beside a lock, the others open the very same memory through ``/proc``.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder = folder
        self.source = source

    def find(self, key: str) -> SampleStore | None:
        try:
            note = json.loads((self.folder / f'{key}.json').read_text(encoding='utf-8'))
            places = np.load(self.folder / f'{key}.npy')
            # The name tells the memory from whatever a later process of the same number has open.
            if not is_anonymous_file(note['path'], f'mmopt-{key}') or len(places) != self.source.count:
                return None
            return SampleStore(note['path'], places, os.open(note['path'], os.O_RDONLY))
        except (OSError, ValueError, KeyError):
            return None

    def build(self, key: str, length: int, probe: Probe, num_workers: int | None) -> SampleStore:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with lock(self.folder / f'{key}.lock'):
            return self.find(key) or self._fill(key, length, probe, num_workers)

    def _fill(self, key: str, length: int, probe: Probe, num_workers: int | None) -> SampleStore:
        source = self.source
        needed, free = _needed(source, probe, length), available_host_bytes()
        if needed > _RAM_SHARE * free:
            remedy = f"{_RAM_SHARE:.0%} of it may be taken: use {spelled('train_dataloader.cache')}='disk', or drop it."
            raise _too_large('the memory of this machine', needed, free, source, remedy)
        made = anonymous_file(f'mmopt-{key}')
        if made is None:
            key = spelled('train_dataloader.cache')
            raise UserError(f"{key}='ram' needs Linux; use {key}='disk'.")
        fd, path = made
        _say(f'storing {_describe(source, length, needed)} in memory.')
        started = time.perf_counter()
        journal = self.folder / f'{key}.journal'
        journal.unlink(missing_ok=True)  # of a dead process, whose memory is gone
        try:
            transforms = source.transforms[:length]
            places = write_records(
                source.info,
                source.count,
                transforms,
                fd,
                path,
                journal,
                title=spelled('train_dataloader.cache'),
                num_workers=num_workers,
            )
        except BaseException:
            os.close(fd)
            raise
        finally:
            journal.unlink(missing_ok=True)
        _write_synced(self.folder / f'{key}.npy', lambda file: np.save(file, places))
        note = json.dumps(dict(path=path)).encode()
        _write_synced(self.folder / f'{key}.json', lambda file: file.write(note))
        _say(f'stored in {seconds(time.perf_counter() - started)}.')
        return SampleStore(path, places, fd)
