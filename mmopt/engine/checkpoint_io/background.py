"""Writing checkpoints in a thread while training goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ['BackgroundWriter', 'deferred_writes']

_DEFERRED: ContextVar[list | None] = ContextVar('deferred checkpoint writes', default=None)


def deferred_writes() -> list | None:
    """Return the list that takes writes instead of doing them; None outside :meth:`BackgroundWriter.collect`."""
    return _DEFERRED.get()


class BackgroundWriter:
    """Write one checkpoint at a time, beside the training.

    The state is copied before training goes on, so it costs its own size in memory until it is written. An error of a
    write is raised where the training next asks: at :meth:`check` or :meth:`join`.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._jobs: list[Callable[[], None]] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Within it :func:`mmopt.engine.checkpoint_io.save` copies the state and leaves the writing to this writer."""
        self.join()  # one copy of the state at a time
        self._jobs = []
        token = _DEFERRED.set(self._jobs)
        try:
            yield
        finally:
            _DEFERRED.reset(token)

    def start(self, then: Callable[[], None]) -> None:
        """Write what was collected, then call ``then``, in a thread."""
        jobs = [*self._jobs, then]
        self._jobs = []  # or the copy would stay in memory
        # Not a daemon: a program that ends lets it finish.
        self._thread = threading.Thread(target=self._run, args=(jobs,), name='checkpoint-writer')
        self._thread.start()

    def _run(self, jobs: list[Callable[[], None]]) -> None:
        try:
            while jobs:
                jobs.pop(0)()
        except BaseException as error:  # raised in the training's own thread
            self._error = error

    def check(self) -> None:
        """Raise the error of a write that failed meanwhile."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def join(self) -> None:
        """Wait for the write that is under way."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()
