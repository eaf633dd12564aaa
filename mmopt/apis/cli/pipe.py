"""A reader that goes away: ``| head``, a ``tee`` that dies, a closed terminal.

Unix tools end without a word then, and so do those of mmopt whose output is all they make. One that computes for hours
and writes files (a training, a search) goes on: what it has done must not be lost to a closed window. It says so once
on standard error; its log has every line.
"""

import os
from contextlib import suppress
from typing import Any

__all__ = ['EXIT_BROKEN_PIPE', 'LastingStream']

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


class LastingStream:
    """A text stream whose reader may go away.

    Args:
        stream: Standard output or standard error; whatever else is asked of this one is asked of it.
        goes_on: Go on without a reader; else leave with :data:`EXIT_BROKEN_PIPE`, past all that catches errors.
        farewell: Written to standard error once the reader is gone; empty for nothing.
    """

    def __init__(self, stream: Any, *, goes_on: bool, farewell: str = '') -> None:
        self._stream = stream
        self._goes_on = goes_on
        self._farewell = farewell

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_stream'], name)

    def write(self, text: str) -> int:
        """Write, to nowhere once the reader is gone."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._lose_reader()
            return len(text)

    def flush(self) -> None:
        """Flush, to nowhere once the reader is gone."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._lose_reader()

    def _lose_reader(self) -> None:
        # In the place of the pipe, so that what is still buffered, and child processes, find someone who reads.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if not self._goes_on:
            raise SystemExit(EXIT_BROKEN_PIPE)
        if self._farewell:
            with suppress(OSError):
                os.write(2, f'{self._farewell}\n'.encode())
