"""Many independent jobs in worker processes, with a progress bar; stopping leaves what is finished."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
from tqdm import tqdm

from mmopt.utils.errors import UserError
from mmopt.utils.platform import process_context

__all__ = ['run_jobs', 'stage_bar']


def _context(module: str) -> multiprocessing.context.BaseContext:
    """Choose how workers start: from a clean server that has imported the module once, where there is one.

    Forking this process, in which torch may have started threads, can hang.
    """
    context = process_context('forkserver')
    if context.get_start_method() == 'forkserver':
        context.set_forkserver_preload([module])
    return context


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides when to stop, after the jobs in work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def stage_bar(total: int) -> tqdm:
    """Return a progress bar of stages that each take their time; in a log file a line every half minute at most."""
    return tqdm(total=total, unit='stage', mininterval=_seconds())


def _seconds() -> float:
    return 0.1 if sys.stderr.isatty() else 30


def run_jobs(
    function: Callable, jobs: Sequence[tuple], num_workers: int, *, unit: str = 'job', desc: str | None = None
) -> Iterator[Any]:
    """Call a function with each tuple of arguments.

    Args:
        function: A function of a module.
        jobs: Arguments of each call; they and the results can be pickled.
        num_workers: Processes; 0 works in this one.
        unit: What a job is called in the progress bar.
        desc: What the progress bar is called.

    Yields:
        Any: The results, in the order in which they are ready.

    Raises:
        UserError: If a worker was killed.
    """
    with tqdm(total=len(jobs), unit=unit, desc=desc, mininterval=_seconds(), disable=not jobs) as bar:
        if num_workers == 0 or len(jobs) < 2:
            for job in jobs:
                yield function(*job)
                bar.update()
            return
        pool = ProcessPoolExecutor(
            min(num_workers, len(jobs)), _context(function.__module__), initializer=_start_worker
        )
        try:
            for done in as_completed([pool.submit(function, *job) for job in jobs]):
                yield done.result()
                bar.update()
        except BrokenProcessPool as error:
            raise UserError(
                'A worker was killed, most likely for want of memory: pass fewer --workers and start again; what is '
                'finished is kept.'
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
