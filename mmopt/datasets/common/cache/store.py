"""The stored samples, read: one file (or anonymous memory) that all processes map, and where each record lies in it."""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.common.cache.records import decode

__all__ = ['SampleStore']


class SampleStore:
    """Samples by index, out of a memory map: workers share the pages, and a record is copied once, when it is read.

    Args:
        path: File of the records; ``/proc/<pid>/fd/<fd>`` names the memory of a process.
        places: int64 (N, 2): offset and length of each record.
        fd: An open descriptor that keeps anonymous memory alive.
    """

    def __init__(self, path: str | Path, places: np.ndarray, fd: int | None = None) -> None:
        self.path = str(path)
        self.places = places
        self.fd = fd
        self._bytes: np.ndarray | None = None
        self._map()

    def _map(self) -> np.ndarray:
        if self._bytes is None:
            # Not np.memmap: each slice of one costs microseconds.
            with open(self.path, 'rb') as file:
                self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        return self._bytes

    def __len__(self) -> int:
        return len(self.places)

    @property
    def num_bytes(self) -> int:
        """Size of all records."""
        return int(self.places[:, 1].sum())

    def __getitem__(self, index: int) -> dict[str, Any]:
        offset, length = self.places[index]
        return decode(self._map()[offset : offset + length])

    def __getstate__(self) -> dict:
        # A process that is not forked maps the file itself.
        return self.__dict__ | dict(_bytes=None, fd=None)

    def close(self) -> None:
        """Give anonymous memory back; records that were read are copies and stay."""
        self._bytes = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
