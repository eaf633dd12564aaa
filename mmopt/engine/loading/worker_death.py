"""A data worker that dies: what happened and what to do, instead of torch's two lines."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader

from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['WorkerDiedError', 'worker_deaths_explained']

_DEATH = re.compile(
    r'DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) (?:exited unexpectedly|is killed by (?P<how>.+))'
)


class WorkerDiedError(UserError, RuntimeError):
    """A data worker was killed or crashed."""


@contextmanager
def worker_deaths_explained(loader: DataLoader) -> Iterator[None]:
    """Turn torch's error about a dead worker, which may come at any line, into one that names the remedy.

    Args:
        loader: Whose workers run inside.

    Raises:
        WorkerDiedError: If one of them died.
    """
    try:
        yield
    except Exception as error:
        # A batch whose worker died while it handed it over is a broken connection, before torch has noticed the death.
        match = _find(error) or (_find(_death_noticed()) if isinstance(error, ConnectionError | EOFError) else None)
        if match is None:
            raise
        raise WorkerDiedError(_explain(match['pids'], match['how'] or '', loader)) from error


def _death_noticed() -> RuntimeError | None:
    """Wait up to a second for torch's own error about a worker that died."""
    try:
        for _ in range(20):
            torch._C._error_if_any_worker_fails()
            time.sleep(0.05)  # the signal that a child has died may be raised here
    except RuntimeError as error:
        return error
    return None


def _find(error: BaseException | None) -> re.Match | None:
    # A signal handler raises it, so whatever code ran just then may have turned it into an error of its own.
    while error is not None:
        if isinstance(error, RuntimeError) and (match := _DEATH.search(str(error))):
            return match
        error = error.__cause__ or error.__context__
    return None


def _explain(pids: str, how: str, loader: DataLoader) -> str:
    workers = loader.num_workers
    fewer = (
        f'Use fewer workers (--options {spelled("train_dataloader.num_workers")}={workers // 2}, now {workers}) or a '
        f'smaller {spelled("train_dataloader.prefetch_factor")} (now {loader.prefetch_factor}), then go '
        'on with --auto-resume.'
    )
    how = how.strip(' .')
    if 'Bus error' in how:
        return (
            f'A data worker (pid {pids}) died of a bus error: shared memory (/dev/shm) is full. Make it larger '
            f'(docker run --shm-size=8g). {fewer}'
        )
    if 'Segmentation' in how:
        return (
            f'A data worker (pid {pids}) crashed ({how}) inside a library that reads or transforms samples: '
            f'{spelled("train_dataloader.num_workers")}=0 shows at which sample.'
        )
    cause = f'was killed ({how})' if how else 'ended without a word'
    return f'A data worker (pid {pids}) {cause}: usually the kernel kills one when memory runs out. {fewer}'
