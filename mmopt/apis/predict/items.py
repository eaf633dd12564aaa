"""What is predicted, one after the other: pictures, and the frames of films.

A film of two hours has a few hundred thousand frames; its items are made when they are asked for.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, filterfalse, islice
from typing import Any, overload

from mmopt.apis.predict.film.cut import Cut
from mmopt.datasets.common.predict import Source

__all__ = ['Film', 'FrameFolder', 'Item', 'ItemList', 'identity_of', 'mean_rate']


def identity_of(path: str) -> tuple[int, int]:
    """Return size and time of a file: another one of its name is another picture."""
    try:
        facts = os.stat(path)
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """One picture.

    Attributes:
        source: Its path, the picture itself, or what reads it.
        name: What its files are called, without an ending; may have folders (``street/0001``). Unique in a list, on
            file systems that do not tell capitals as well.
        film: What it is a frame of; None of a single picture.
        place: Its place among the frames that are predicted of the film; of a single picture its place in the list.
    """

    source: Source
    name: str
    film: 'Film | None' = None
    place: int = 0

    @property
    def file(self) -> str:
        """The path, of a frame that is no file of its own the film's; of an array the name."""
        if isinstance(self.source, str):
            return self.source
        return getattr(self.source, 'path', None) or self.name

    @property
    def identity(self) -> tuple[int, int]:
        """Size and time of the files that it is made of: with others it has to be predicted again."""
        files = [identity_of(file) for file in getattr(self.source, 'files', (self.file,))]
        return sum(size for size, _ in files), max(changed_ns for _, changed_ns in files)

    @property
    def frame(self) -> int | None:
        """The number of a film's frame, from 0; of a folder the number in the file's name."""
        return None if self.film is None else self.film.frame(self.place)

    @property
    def time_s(self) -> float | None:
        """When a film's frame is shown, in seconds after the first of the film."""
        return None if self.film is None else self.film.time_s(self.place)

    @property
    def label(self) -> str:
        """What people are told: the file, and the frame of a film."""
        return self.file if self.film is None or self.film.has_files else f'{self.file}, frame {self.frame}'


class Film(Sequence[Item], ABC):
    """Pictures with times, one after the other.

    Attributes:
        path: What the user named.
        name: What its files are called, without an ending.
        fps: Frames that are predicted of a second, about.
        is_live: Whether it passes by only once, and nobody knows when it ends.
        has_files: Whether every frame is a file of its own.
    """

    path: str
    name: str
    fps: float
    is_live = False
    has_files = False

    @abstractmethod
    def frame(self, place: int) -> int:
        """Return the number of a frame, by its place among those that are predicted."""

    @abstractmethod
    def time_s(self, place: int) -> float:
        """Return when a frame is shown, in seconds after the film's first."""

    @abstractmethod
    def source(self, place: int) -> Source:
        """Return what reads a frame."""

    def close(self) -> None:
        """Let go of what a live film reads from."""

    def identity(self) -> str:
        """Return what changes when the film does: here size and time of its file."""
        return repr(identity_of(self.path))

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.item(place)

    def item(self, place: int) -> Item:
        """Return a frame's item."""
        return Item(self.source(place), f'{self.name}/{self.frame(place):06d}', self, place)


class FrameFolder(Film):
    """Pictures with numbers in their names, as frames.

    Args:
        path: What the user named.
        name: See :class:`Film`.
        frames: Number and path (or pair) of each, by number.
        fps: Numbers per second.
        cut: What of it is predicted.
    """

    has_files = True

    def __init__(self, path: str, name: str, frames: Sequence[tuple[int, Source]], fps: float, cut: Cut) -> None:
        self.path = path
        self.name = name
        self._first, self._rate = frames[0][0], fps
        chosen = cut.choose([number for number, _ in frames], lambda place: (frames[place][0] - self._first) / fps)
        self._frames = [frames[place] for place in chosen]
        self.fps = mean_rate(self, fps)

    def __len__(self) -> int:
        return len(self._frames)

    def frame(self, place: int) -> int:
        """Return the number in the file's name."""
        return self._frames[place][0]

    def time_s(self, place: int) -> float:
        """Return when it is shown: a missing number leaves a gap."""
        return (self.frame(place) - self._first) / self._rate

    def source(self, place: int) -> Source:
        """Return the file, or the pair of files."""
        return self._frames[place][1]

    def identity(self) -> str:
        """Return what changes when one of the files does."""
        digest = hashlib.sha256()
        for item in self:
            digest.update(repr((item.file, identity_of(item.file))).encode())
        return digest.hexdigest()


def mean_rate(film: Film, otherwise: float) -> float:
    """Return the frames per second that are predicted of a film, on average."""
    if len(film) < 2:
        return otherwise
    return (len(film) - 1) / max(film.time_s(len(film) - 1) - film.time_s(0), 1e-3)


class ItemList(Sequence[Item]):
    """All items of the sources, in order; those of films are made when they are asked for.

    Args:
        parts: Lists of pictures, and films. A live film is the only one, and the list then has no length: it can only
            be gone through.
    """

    def __init__(self, parts: Sequence[Sequence[Item]]) -> None:
        self._parts = list(parts)
        self.films = [part for part in parts if isinstance(part, Film)]
        self.live = next((film for film in self.films if film.is_live), None)
        self.has_pictures = any(len(part) > 0 for part in parts if not isinstance(part, Film))
        lengths = [0] if self.live is not None else [len(part) for part in parts]
        self._stops = list(accumulate(lengths))

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def __iter__(self) -> Iterator[Item]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        part = bisect_right(self._stops, index)
        return self._parts[part][index - (self._stops[part - 1] if part else 0)]

    def batches(
        self, size: Callable[[], int], is_done: Callable[[Item], bool], *, packed: bool
    ) -> Iterator[list[Item]]:
        """Cut the list into batches, of which each holds pictures of one film, or of none.

        Args:
            size: Returns the size of the next batch.
            is_done: Tells which pictures need no prediction.
            packed: Whether all pictures of a batch are to be predicted. If not, finished ones fill it up, and those
                that are given have the batches of an uninterrupted prediction.

        Yields:
            list[Item]: Batches in which at least one picture is not done.
        """
        for part in self._parts:
            todo = filterfalse(is_done, part) if packed else iter(part)
            while batch := list(islice(todo, size())):
                if packed or not all(map(is_done, batch)):
                    yield batch
