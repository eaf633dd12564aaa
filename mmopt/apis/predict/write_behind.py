"""Writing in a thread, while the model predicts: encoding a picture takes as long as a small model."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from mmopt.apis.predict.sources import Item
from mmopt.datasets.common.predict import Result

__all__ = ['WriteBehind']


class WriteBehind:
    """Write a batch while the next one is predicted; a picture is noted as done when its files are there.

    At most one batch waits, so memory is bounded. Leaving it waits for that one, also after Ctrl-C.

    Args:
        write: Writes the files of a picture; called in one thread, in order: fonts are not shared among several.
        note: Called in the caller's thread, in order.
    """

    def __init__(self, write: Callable[[Item, Result], None], note: Callable[[Item, Result], None]) -> None:
        self._write = write
        self._note = note
        self._pool = ThreadPoolExecutor(1)
        self._waiting: list[tuple[Item, Result, Future]] = []

    def put(self, batch: Sequence[tuple[Item, Result]]) -> None:
        """Take a batch, once the one before is written; an error of its writing is raised here."""
        self._finish()
        self._waiting = [(item, result, self._pool.submit(self._write, item, result)) for item, result in batch]

    def _finish(self) -> None:
        waiting, self._waiting = self._waiting, []
        for item, result, future in waiting:
            future.result()
            self._note(item, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                self._finish()
                return
            for item, result, future in self._waiting:
                if future.exception() is not None:  # the first error is on its way already
                    break
                self._note(item, result)
        finally:
            self._pool.shutdown(cancel_futures=True)
