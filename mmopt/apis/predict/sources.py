"""What a user names, as a list of pictures: a file, a folder, a pattern, a text list, arrays."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.apis.config import missing_file
from mmopt.apis.predict.names import LISTS, read_list, unique_names
from mmopt.datasets.common.predict import Source
from mmopt.utils.errors import UserError

__all__ = ['SUFFIXES', 'Item', 'list_items']

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
"""Files of a folder or a pattern that count as pictures, in lower case."""
_FILMS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.gif')


@dataclass(frozen=True, eq=False)
class Item:
    """One picture.

    Attributes:
        source: Its path, or the picture itself.
        name: What its files are called, without an ending; may have folders (``street/0001``). Unique in a list, on
            file systems that do not tell capitals as well.
    """

    source: Source
    name: str

    @property
    def file(self) -> str:
        """The path; of an array the name."""
        return self.source if isinstance(self.source, str) else getattr(self.source, 'path', None) or self.name


def list_items(sources: Sequence[str | Path | np.ndarray], *, without: str | Path | None = None) -> list[Item]:
    """List the pictures that sources name, in their order and within a source by name.

    Args:
        sources: Pictures, folders (with all subfolders; hidden ones are passed over), patterns (``**`` enters
            subfolders), lists (``.txt``: a path per line, from the folder of the list or else from the working
            folder), arrays.
        without: A folder whose content is no source: the predictions may lie inside of what is predicted.

    Returns:
        The pictures; one that is named twice is in it once.

    Raises:
        UserError: If a source is not there, holds no picture, or is a film.
    """
    found: list[tuple[Source, str]] = []
    seen: set[str] = set()
    excluded = None if without is None else Path(without).resolve()
    for number, source in enumerate(sources):
        if isinstance(source, np.ndarray):
            found.append((source, f'array_{number:06d}'))
            continue
        named = list(_expand(str(source)))
        if not named:
            raise UserError(_empty(str(source)))
        listed = [pair for pair in named if not _is_inside(pair[0], excluded)]
        if not listed:
            raise UserError(f'{source}: all of its pictures lie in the output folder {without}; name another one.')
        for path, name in listed:
            if (key := os.path.realpath(path)) not in seen:
                seen.add(key)
                found.append((path, name))
    if not found:
        raise UserError('There is no source: name a picture, a folder, a pattern or a text list.')
    return _named(found)


def _expand(source: str) -> Iterator[tuple[str, str]]:
    """Give the paths of a source and what their files are called, with the ending."""
    path = Path(source)
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith('.'))
            for name in sorted(names):
                if _is_picture(name):
                    file = Path(folder, name)
                    yield str(file), file.relative_to(path).as_posix()
    elif path.is_file():
        if path.suffix.lower() in LISTS:
            for file in read_list(path):
                yield file, Path(file).name
        elif path.suffix.lower() in _FILMS:
            raise UserError(
                f'{source} is a film, which cannot be predicted yet: write its frames as pictures into a folder '
                f'(ffmpeg -i {path.name} frames/%06d.png) and name that.'
            )
        else:
            yield source, path.name
    elif glob.has_magic(source):
        files = sorted(file for file in glob.glob(source, recursive=True) if _is_picture(Path(file).name))
        root = _fixed_part(path)
        for found in files:
            if Path(found).is_file():
                yield found, Path(os.path.relpath(found, root)).as_posix()
    else:
        raise missing_file(path, 'source')


def _is_picture(name: str) -> bool:
    return not name.startswith('.') and Path(name).suffix.lower() in SUFFIXES


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before the first wildcard."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def _is_inside(path: str, folder: Path | None) -> bool:
    return folder is not None and Path(path).resolve().is_relative_to(folder)


def _empty(source: str) -> str:
    endings = ', '.join(SUFFIXES)
    if Path(source).is_dir():
        return f'{source}: neither the folder nor its subfolders hold a picture ({endings}).'
    if Path(source).is_file():
        return f'{source}: the list names no picture; it holds a path per line.'
    return f'{source}: no picture ({endings}) has such a name; put the pattern into quotes, so that it arrives whole.'


def _named(found: Sequence[tuple[Source, str]]) -> list[Item]:
    names = unique_names([name for _, name in found])
    return [Item(source, name) for (source, _), name in zip(found, names, strict=True)]
