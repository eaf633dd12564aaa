"""Writing in threads, while the model predicts: encoding a picture takes as long as a small model."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from mmopt.apis.predict.items import Item
from mmopt.datasets.common.predict import Result
from mmopt.utils.host import usable_cores

__all__ = ['WriteBehind']

_MAX_WRITERS = 4


class WriteBehind:
    """Write a batch while the next one is predicted; a picture is noted as done when its files are there.

    At most one batch waits, so memory is bounded. Leaving it waits for that one, also after Ctrl-C.

    Args:
        write: Writes the files of a picture; called in several threads.
        note: Called in the caller's thread, in order.
        append: Writes what has to be in order, films; called in one thread, after the picture's ``write``.
    """

    def __init__(
        self,
        write: Callable[[Item, Result], None],
        note: Callable[[Item, Result], None],
        append: Callable[[Item, Result], None] | None = None,
    ) -> None:
        self._write = write
        self._append = append
        self._note = note
        self._pool = ThreadPoolExecutor(min(_MAX_WRITERS, usable_cores()), 'mmopt-write')
        self._in_order = ThreadPoolExecutor(1, 'mmopt-append')
        self._waiting: deque[tuple[Item, Result, Future]] = deque()

    def put(self, batch: Sequence[tuple[Item, Result]]) -> None:
        """Take a batch, once the one before is written; an error of its writing is raised here."""
        self._finish()
        for item, result in batch:
            written = self._pool.submit(self._write, item, result)
            if self._append is not None and item.film is not None:
                written = self._in_order.submit(self._append_after, written, item, result)
            self._waiting.append((item, result, written))

    def _append_after(self, written: Future, item: Item, result: Result) -> None:
        written.result()
        assert self._append is not None
        self._append(item, result)

    def _finish(self) -> None:
        while self._waiting:
            item, result, written = self._waiting[0]
            written.result()
            self._waiting.popleft()
            self._note(item, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                self._finish()
                return
            for item, result, written in self._waiting:
                if written.exception() is not None:  # the first error is on its way already
                    break
                self._note(item, result)
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._in_order.shutdown(cancel_futures=True)
