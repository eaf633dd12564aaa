"""Fill a file with records, in parallel; a killed build goes on where it was.

Workers reserve a piece of the file and write their record there; who wrote what is noted in a journal once it is
written. Only the journal decides what is there, and each record of an interrupted build is checked before it counts.
"""

import errno
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmopt.config.spelling import spelled
from mmopt.datasets.common.cache.prefix import PrefixEndsError, run_prefix
from mmopt.utils.errors import UserError
from mmopt.utils.host import usable_cores
from mmopt.utils.malloc import keep_freed_pages
from mmopt.utils.platform import open_for_update, process_context, read_at, write_at

__all__ = ['read_journal', 'write_records']

_ALIGN = 64
_COLUMNS = 4  # index, offset, length, checksum
# Fewer samples than this per worker are done before it has started.
_MIN_SAMPLES_PER_WORKER = 64


@dataclass(frozen=True)
class _Failure:
    """What a worker hands over instead of raising: torch keeps an exception's text only."""

    place: int
    reason: str


class _Writer(Dataset):
    """Store samples when they are asked for; an item is its row of the journal."""

    def __init__(
        self,
        info: Callable[[int], dict],
        indices: np.ndarray,
        transforms: Sequence,
        fd: int,
        path: str | Path,
        context: BaseContext,
        end: int,
    ):
        self.info = info
        self.indices = indices
        self.transforms = transforms
        self.fd = fd
        self.path = path
        # Workers share it: nobody reserves the same piece.
        self.end = context.Value('q', end)

    def __getstate__(self) -> dict:
        return self.__dict__ | dict(fd=None)

    def __setstate__(self, state: dict) -> None:
        # A worker that is not forked opens the file itself.
        self.__dict__.update(state, fd=open_for_update(state['path']))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> tuple[int, int, int, int] | _Failure:
        index = int(self.indices[number])
        try:
            record = run_prefix(self.info(index), index, self.transforms)
        except PrefixEndsError as error:
            return _Failure(error.place, error.reason)
        with self.end.get_lock():
            offset = self.end.value
            self.end.value += -(-len(record) // _ALIGN) * _ALIGN
        view, position = memoryview(record), offset
        try:
            while view:
                written = write_at(self.fd, view, position)
                view, position = view[written:], position + written
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return _Failure(-1, error.strerror or str(error))
        return index, offset, len(record), zlib.crc32(record)


def _init_worker(worker_id: int) -> None:
    del worker_id
    cv2.setNumThreads(0)
    keep_freed_pages()


def read_journal(journal: Path, fd: int, count: int) -> np.ndarray:
    """Return the rows of an interrupted build whose records are as they were written.

    Args:
        journal: The file; may be missing, or end in the middle of a row.
        fd: The records.
        count: Samples of the data set.

    Returns:
        int64 (n, 4): index, offset, length, checksum; each index once.
    """
    if not journal.is_file():
        return np.zeros((0, _COLUMNS), np.int64)
    content = journal.read_bytes()
    rows = np.frombuffer(content[: len(content) // (8 * _COLUMNS) * 8 * _COLUMNS], np.int64).reshape(-1, _COLUMNS)
    good: dict[int, np.ndarray] = {}
    for row in rows:
        index, offset, length, checksum = map(int, row)
        if 0 <= index < count and length > 0 and offset >= 0:
            record = read_at(fd, length, offset)
            if len(record) == length and zlib.crc32(record) == checksum:
                good[index] = row
    return np.array(list(good.values()), np.int64).reshape(-1, _COLUMNS)


def write_records(
    info: Callable[[int], dict],
    count: int,
    transforms: Sequence[Callable],
    fd: int,
    path: str | Path,
    journal: Path,
    *,
    title: str,
    num_workers: int | None = None,
) -> np.ndarray:
    """Store every sample that is not there yet.

    Args:
        info: Gives what the data set says of a sample.
        count: Samples.
        transforms: What is run on each.
        fd: The file, open for reading and writing.
        path: The same file, for workers that are not forked.
        journal: What is there already is read from it, what comes is noted in it.
        title: Stands before the progress bar.
        num_workers: Processes; by default as many as there are cores, fewer for few samples.

    Returns:
        int64 (N, 2): offset and length of each record.

    Raises:
        PrefixEndsError: If a transform turns out not to be the same every time.
        UserError: If the disk is full.
    """
    rows = read_journal(journal, fd, count)
    places = np.full((count, 2), -1, np.int64)
    places[rows[:, 0]] = rows[:, 1:3]
    todo = np.flatnonzero(places[:, 0] < 0)
    end = int((rows[:, 1] + rows[:, 2]).max(initial=0))
    if num_workers is None:
        num_workers = min(usable_cores(), len(todo) // _MIN_SAMPLES_PER_WORKER)
    context = process_context('fork')
    writer = _Writer(info, todo, transforms, fd, path, context, -(-end // _ALIGN) * _ALIGN)
    options: dict[str, Any] = dict(multiprocessing_context=context, worker_init_fn=_init_worker) if num_workers else {}
    # A generator of its own: the run that builds the cache draws the same weights as those that find it.
    options['generator'] = torch.Generator()
    loader = DataLoader(writer, batch_size=8, num_workers=num_workers, collate_fn=list, **options)
    with (
        journal.open('wb') as notes,
        # Silent where standard error is no terminal.
        tqdm(total=count, initial=count - len(todo), desc=title, unit='sample', disable=None, leave=False) as bar,
    ):
        notes.write(rows.tobytes())
        for batch in loader:
            for row in batch:
                if isinstance(row, _Failure):
                    if row.place < 0:
                        raise UserError(
                            f'{title}: {row.reason} after {bar.n} of {count} samples. Set '
                            f'{spelled("train_dataloader.cache_dir")} to a '
                            'disk with more space (what is stored stays and is gone on with), or drop the cache.'
                        )
                    raise PrefixEndsError(row.place, row.reason)
                places[row[0]] = row[1:3]
            notes.write(np.array(batch, np.int64).tobytes())
            notes.flush()
            bar.update(len(batch))
    return places
