"""How fast the data comes from its disk, and how fast one process makes samples of it."""

import os
import random
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmopt.utils.memory import GIB
from mmopt.utils.platform import forget_cached_pages

__all__ = ['Disk', 'look_at_disk', 'read_speed', 'sample_ms']

_MIB = 1024**2
_LEAST_BYTES, _ENOUGH_BYTES = 4 * _MIB, 64 * _MIB
_NUM_SAMPLES = 8


@dataclass(frozen=True)
class Disk:
    """What was measured.

    Attributes:
        read_mib_per_s: From files that are not in the page cache; None where there were none to read.
        load_ms: One process makes one training sample in; None where the data set could not be made.
        free_gib: Free where the run writes.
    """

    read_mib_per_s: float | None
    load_ms: float | None
    free_gib: float


def _some_files(paths: Iterable[Path], seed: int = 0) -> Iterator[Path]:
    """Yield files below some folders in a random order, without listing millions of them."""
    rng = random.Random(seed)
    for path in paths:
        if path.is_file():
            yield path
            continue
        with os.scandir(path) as entries:
            names = [entry.path for _, entry in zip(range(2000), entries, strict=False)]
        rng.shuffle(names)
        for name in names:
            if os.path.isfile(name):
                yield Path(name)
            elif os.path.isdir(name):
                yield from _some_files([Path(name)], rng.randrange(1 << 30))


def read_speed(paths: Iterable[Path], budget_s: float = 3.0) -> float | None:
    """Read some files after dropping them from the page cache.

    Args:
        paths: Folders or files.
        budget_s: Seconds after which to stop.

    Returns:
        MiB per second; None where there is too little to read for a figure.
    """
    num_bytes, seconds = 0, 0.0
    for path in _some_files(paths):
        with path.open('rb', buffering=0) as file:
            forget_cached_pages(file)
            start = time.perf_counter()
            while chunk := file.read(4 * _MIB):
                num_bytes += len(chunk)
            seconds += time.perf_counter() - start
        if num_bytes > _ENOUGH_BYTES or seconds > budget_s:
            break
    return num_bytes / _MIB / seconds if num_bytes > _LEAST_BYTES else None


def sample_ms(dataset: Any) -> float | None:
    """Time the data set's own pipeline in this process; None for an empty data set."""
    count = min(len(dataset), _NUM_SAMPLES)
    if not count:
        return None
    dataset[0]  # opens files and fills caches
    start = time.perf_counter()
    for place in range(count):
        dataset[place * len(dataset) // count]
    return 1000 * (time.perf_counter() - start) / count


def look_at_disk(folders: Iterable[str], dataset: Any, work_dir: str) -> Disk:
    """Measure the disk of the data and of the work dir.

    Args:
        folders: What the data set reads; what is not there is passed over.
        dataset: The training data set; None where it could not be made.
        work_dir: Where the run will write; need not exist.

    Returns:
        What was measured.
    """
    there = [Path(folder) for folder in folders if Path(folder).exists()]
    place = Path(work_dir).absolute()
    while not place.is_dir():
        place = place.parent
    return Disk(
        read_mib_per_s=read_speed(there),
        load_ms=None if dataset is None else sample_ms(dataset),
        free_gib=shutil.disk_usage(place).free / GIB,
    )
