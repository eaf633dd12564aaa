"""Signals that ask a training to stop: it finishes its iteration, saves and leaves; a second one ends it at once.

Schedulers send SIGTERM, or SIGUSR1 where they are asked to (``sbatch --signal=USR1@120``), some time before they kill;
people press Ctrl-C (SIGINT). With several processes a signal may reach some ranks only, and later than others: all
agree on the iteration after which they stop. The agreement is a reduction over gloo that is begun after one iteration
and read after the next, so nothing waits for a device, and a stop comes at most one iteration later.
"""

import multiprocessing.util
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Any, Self

import torch
from mmengine.dist import get_world_size
from torch import distributed

from mmopt.utils.platform import STOPPING_SIGNALS
from mmopt.utils.terminal import paint

__all__ = [
    'EXIT_STOPPED',
    'StopSignals',
    'TrainingStopped',
    'end_workers',
    'end_workers_at_exit',
    'outlive_first_signal',
]

EXIT_STOPPED = 75
"""Exit code of a run that was asked to stop and has saved: ``EX_TEMPFAIL``, "try again later"."""

_PATIENCE_S = 2.0


class TrainingStopped(SystemExit):
    """A run was asked to stop, has saved and leaves with :data:`EXIT_STOPPED`.

    Args:
        signal_name: What asked, e.g. ``'SIGTERM'``.
        checkpoint: Where they were saved.
    """

    def __init__(self, signal_name: str, iters_done: int, checkpoint: str) -> None:
        super().__init__(EXIT_STOPPED)
        self.iters_done = iters_done
        self.checkpoint = checkpoint
        self.text = f'stopped by {signal_name} after iteration {iters_done}; saved as {checkpoint}.'

    def __str__(self) -> str:
        return self.text


def outlive_first_signal() -> None:
    """Let this process, a data worker, survive the first signal of each kind: what is sent to a whole process group
    (Ctrl-C, a scheduler) must not take the data away from the iteration that is to be finished.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        os._exit(0)  # any other end, and torch tells the parent of a worker that failed

    def survive(signum: int, frame: FrameType | None) -> None:
        signal.signal(signum, leave)

    for signum in STOPPING_SIGNALS:
        signal.signal(signum, survive)


def end_workers() -> None:
    """End the data workers that still run when their parent leaves.

    Python ends daemons at exit with one SIGTERM and waits for them: those that outlive the first would never leave.
    """
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    deadline = time.monotonic() + _PATIENCE_S
    while workers and time.monotonic() < deadline:
        for worker in workers:
            worker.terminate()
        workers[0].join(0.02)
        workers = [worker for worker in workers if worker.is_alive()]
    for worker in workers:
        worker.kill()


_finalizer_of = 0


def end_workers_at_exit() -> None:
    """Let :func:`end_workers` run when this process leaves, before multiprocessing waits for daemons.

    Not with atexit: a process that multiprocessing started leaves without it, and forgets what its parent registered.
    """
    global _finalizer_of
    if _finalizer_of != os.getpid():
        _finalizer_of = os.getpid()
        multiprocessing.util.Finalize(None, end_workers, exitpriority=100)


class StopSignals:
    """Note SIGTERM, SIGINT and SIGUSR1 (where there is one) while a training runs; a context manager.

    Outside the main thread, where Python allows no handlers, signals keep their meaning.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._received = 0
        self._process = 0
        self._group: Any = None
        self._begun: tuple[torch.Tensor, Any] | None = None

    def __enter__(self) -> Self:
        self._received, self._process = 0, os.getpid()
        try:
            for signum in STOPPING_SIGNALS:
                self._before[signum] = signal.signal(signum, self._note)
        except ValueError:  # not the main thread
            self._before.clear()
        if get_world_size() > 1:
            self._group = distributed.new_group(backend='gloo')
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()
        if exception[0] is None or exception[0] is TrainingStopped:
            self._read()  # the others are there for it; after an error they may not be

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a forked data worker has inherited this handler
        self._received = signum
        # The second ends the process even while it waits inside a C function, where no Python handler would run.
        for other in STOPPING_SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        name = signal.Signals(signum).name
        text = f'{name}: finishing the iteration, then saving; a second signal stops at once.'
        # A closed terminal, or a `tee` that the same Ctrl-C has ended, must not keep the state from being saved.
        with suppress(OSError):
            if sys.__stderr__ is not None:
                os.write(sys.__stderr__.fileno(), f'\n{paint(text, "yellow", sys.__stderr__)}\n'.encode())

    @property
    def shared_by_all(self) -> Any:
        """The gloo group in which the ranks agree; None with one process."""
        return self._group

    def poll(self) -> str | None:
        """Return the name of the signal that all ranks stop for now, else None. All ranks ask equally often."""
        if self._group is None:
            return signal.Signals(self._received).name if self._received else None
        agreed = self._read()
        if agreed:
            return signal.Signals(agreed).name
        flag = torch.tensor(self._received)
        work = distributed.all_reduce(flag, distributed.ReduceOp.MAX, group=self._group, async_op=True)
        self._begun = (flag, work)
        return None

    def _read(self) -> int:
        if self._begun is None:
            return 0
        flag, work = self._begun
        self._begun = None
        work.wait()
        return int(flag)
