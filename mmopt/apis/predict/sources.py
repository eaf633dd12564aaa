"""What a user names, as a list of pictures: files, folders, patterns, text lists, films, standard input, arrays."""

import glob
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmopt.apis.config import missing_file
from mmopt.apis.predict.film.cut import Cut
from mmopt.apis.predict.film.live import open_camera, open_stream
from mmopt.apis.predict.film.video import BrokenFilm, OpenFilm, VideoFilm
from mmopt.apis.predict.items import Film, FrameFolder, Item, ItemList
from mmopt.apis.predict.names import Names
from mmopt.datasets.common.predict import Source
from mmopt.utils.errors import DataError, UserError

__all__ = [
    'FILMS',
    'LISTS',
    'SUFFIXES',
    'Item',
    'ItemList',
    'Sources',
    'as_arrays',
    'list_items',
    'name_arrays',
    'read_list',
]

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
"""Files of a folder or a pattern that count as pictures, in lower case."""
FILMS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.ts', '.mts', '.wmv', '.gif')
"""Files that count as films."""
LISTS = ('.txt', '.lst')
"""Endings of text lists."""
_FRAME_PATTERN = re.compile(r'%0?\d*d')
_FRAME_NUMBER = re.compile(r'(\d+)$')
_FPS = 30.0


@dataclass(frozen=True)
class Sources:
    """How sources are read.

    Attributes:
        cut: What is predicted of films.
        fps: Frames per second of folders of numbered frames, which makes films of them; None leaves them pictures.
        pair_up: Turns the paths of pictures into pairs, for a model that takes pairs; called with many at once. What
            it gives None for is the second of a pair, and none of its own.
        stdin: What ``-`` reads; None: standard input.
        open_film: The video that is being read.
    """

    cut: Cut = field(default_factory=Cut)
    fps: float | None = None
    pair_up: Callable[[Sequence[str]], Sequence[Source | None]] | None = None
    stdin: Any = None
    open_film: OpenFilm = field(default_factory=OpenFilm)


def list_items(sources: Sequence[Any], *, without: str | Path | None = None, how: Sources | None = None) -> ItemList:
    """List the pictures that sources name, in their order and within a source by name.

    Args:
        sources: Pictures, folders (with all subfolders; hidden ones are passed over), patterns (``**`` enters
            subfolders), lists (``.txt``: a path per line, from the folder of the list or else from the working
            folder), films, numbered frames (``frames/%06d.png``), ``-`` (standard input: paths, or an encoded film),
            the number of a camera, arrays, tensors.
        without: A folder whose content is no source: the predictions may lie inside of what is predicted.
        how: What is read of films and pairs.

    Returns:
        The pictures; one that is named twice is in it once.

    Raises:
        UserError: If a source is not there or holds no picture.
    """
    how = how or Sources()
    found: list[_Found] = []
    seen: set[str] = set()
    excluded = None if without is None else Path(without).resolve()
    for number, source in enumerate(sources):
        if not isinstance(source, str | Path):
            found += [_Found(picture, name) for picture, name in name_arrays(source, number)]
            continue
        named = list(_expand(str(source), how))
        if not named:
            raise UserError(_empty(str(source)))
        listed = [entry for entry in named if not _is_inside(entry.path, excluded)]
        if not listed:
            raise UserError(f'{source}: all of its pictures lie in the output folder {without}; name another one.')
        for entry in listed:
            if (key := os.path.realpath(entry.path)) not in seen:
                seen.add(key)
                found.append(entry)
    if not found:
        raise UserError('There is no source: name a picture, a folder, a pattern, a text list or a film.')
    if how.pair_up is not None:
        found = _paired(found, how.pair_up)
    return _named(found, how)


def as_arrays(source: Any) -> list[Source]:
    """Return the pictures of an array or a tensor: a batch has several.

    Args:
        source: A NumPy array (H, W), (H, W, C) or (N, H, W, C), or a torch tensor (H, W), (C, H, W) or (N, C, H, W).
            What is neither is given back.

    Returns:
        Arrays (H, W) or (H, W, C).
    """
    if isinstance(source, Tensor):
        picture = source.detach().cpu()
        source = (picture.movedim(-3, -1) if picture.ndim >= 3 else picture).numpy()
    if isinstance(source, np.ndarray) and source.ndim == 4:
        return list(source)
    return [source]


def name_arrays(source: Any, number: int) -> list[tuple[Source, str]]:
    """Return the pictures of a source that is no path, and what their files are called.

    Args:
        source: See :func:`as_arrays`; what has a ``path`` is called after it.
        number: Its place among the sources.

    Returns:
        Pictures and names.
    """
    arrays = as_arrays(source)
    if len(arrays) == 1:
        path = getattr(arrays[0], 'path', None)
        return [(arrays[0], f'array_{number:06d}' if path is None else Path(path).name)]
    return [(array, f'array_{number:06d}_{index:06d}') for index, array in enumerate(arrays)]


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found, before it has a name.

    Attributes:
        source: Path, array or pair; None of a film.
        name: What its files are called, with the ending.
        film: Makes the film, of the name that it gets.
        path: The file, by which it is known when it is named twice.
    """

    source: Source
    name: str
    film: Callable[[str], Film] | None = None

    @property
    def path(self) -> str:
        return str(getattr(self.source, 'path', self.source))


def _expand(source: str, how: Sources) -> Iterator[_Found]:
    """Give what a source names, with what its files are called."""
    path = Path(source)
    if source == '-':
        yield from _read_standard_input(how)
    elif path.is_dir():
        yield from _expand_folder(path, how)
    elif path.is_file():
        if path.suffix.lower() in LISTS:
            for file in read_list(path):
                yield _file(file, Path(file).name, how)
        else:
            yield _file(source, path.name, how)
    elif _FRAME_PATTERN.search(path.name):
        if (film := _numbered(path, how)) is not None:
            yield film
    elif glob.has_magic(source):
        files = sorted(file for file in glob.glob(source, recursive=True) if _is_source(Path(file).name))
        root = _fixed_part(path)
        for found in files:
            if Path(found).is_file():
                yield _file(found, Path(os.path.relpath(found, root)).as_posix(), how)
    elif source.isdecimal():
        yield _Found(source, f'camera_{source}', lambda name: open_camera(int(source), name, how.cut))
    else:
        raise missing_file(path, 'source')


def _expand_folder(path: Path, how: Sources) -> Iterator[_Found]:
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        names = sorted(filter(_is_source, names))
        if how.fps is not None and (frames := _frames_of(folder, names)):
            at = Path(folder).relative_to(path).as_posix()
            if (film := _frames(folder, Path(folder).resolve().name if at == '.' else at, frames, how)) is not None:
                yield film
            continue
        for name in names:
            file = Path(folder, name)
            yield _file(str(file), file.relative_to(path).as_posix(), how)


def _frames_of(folder: str, names: Sequence[str]) -> list[tuple[int, str]]:
    """Return numbers and paths if all pictures of a folder are called alike but for a number at the end."""
    found: dict[int, str] = {}
    heads = set()
    for name in names:
        match = _FRAME_NUMBER.search(Path(name).stem)
        if match is None or not _is_picture(name) or int(match[1]) in found:
            return []
        heads.add(Path(name).stem[: match.start()])
        found[int(match[1])] = str(Path(folder, name))
    return sorted(found.items()) if len(heads) == 1 else []


def _frames(path: str, name: str, frames: Sequence[tuple[int, Source]], how: Sources) -> _Found | None:
    fps, numbers = how.fps or _FPS, [number for number, _ in frames]
    if how.pair_up is not None:
        pairs = zip(numbers, how.pair_up([file for _, file in frames]), strict=True)
        frames = [(number, pair) for number, pair in pairs if pair is not None]
        if not frames:
            return None
    return _Found(path, name, lambda called: FrameFolder(path, called, frames, fps, how.cut))


def _numbered(pattern: Path, how: Sources) -> _Found | None:
    """List the frames of ``folder/name_%06d.png``, as FFmpeg writes it."""
    before, after = _FRAME_PATTERN.split(pattern.name, maxsplit=1)
    fits = re.compile(rf'{re.escape(before)}(\d+){re.escape(after)}')
    try:
        names = os.listdir(pattern.parent)
    except OSError as error:
        raise missing_file(pattern.parent, 'folder of the source') from error
    matches = [match for match in map(fits.fullmatch, names) if match]
    frames = {int(match[1]): str(pattern.parent / match[0]) for match in matches}
    if not frames:
        raise UserError(f'{pattern}: no file has such a name with a number.')
    name = before.strip(' ._-') or pattern.parent.resolve().name
    return _frames(str(pattern), name, sorted(frames.items()), how)


def _file(path: str, name: str, how: Sources) -> _Found:
    if Path(name).suffix.lower() not in FILMS:
        return _Found(path, name)

    def film(called: str) -> Film:
        try:
            return VideoFilm(path, called, how.cut, how.open_film)
        except (DataError, OSError) as error:
            return BrokenFilm(path, called, error)

    if how.pair_up is not None:
        raise UserError(
            f'{path}: the model takes pairs of pictures, which a film does not hold: name the folder of its frames, '
            'and with --events that of the event frames.'
        )
    return _Found(path, name, film)


def _read_standard_input(how: Sources) -> Iterator[_Found]:
    file: Any = how.stdin or sys.stdin.buffer
    if file.isatty():
        raise UserError('-: nothing is piped in: list paths (find pictures | ...), or send an encoded film.')
    begin = file.peek(4096)[:4096]
    if _is_text(begin):
        text = file.read().decode('utf-8-sig')
        for line in filter(None, map(str.strip, re.split(r'[\0\r\n]', text))):
            yield _file(line, Path(line).name, how)
    else:
        yield _Found('-', 'stdin', lambda name: open_stream(file, name, how.cut))


def _is_text(begin: bytes) -> bool:
    """Tell a list of paths from an encoded film by its first bytes."""
    try:
        text = begin.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        if error.end < len(begin):  # else only the last letter is cut off
            return False
        text = begin[: error.start].decode('utf-8-sig')
    return not any(ord(letter) < 32 and letter not in '\0\t\r\n' for letter in text) and '\0\0' not in text


def _is_source(name: str) -> bool:
    return _is_picture(name) or (not name.startswith('.') and Path(name).suffix.lower() in FILMS)


def _is_picture(name: str) -> bool:
    return not name.startswith('.') and Path(name).suffix.lower() in SUFFIXES


def read_list(path: Path) -> Iterator[str]:
    """Give the paths of a text list: from its folder, or else from the working folder."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: a list is a text in UTF-8, a path per line; byte {error.start} is none.') from error
    for line in filter(None, map(str.strip, lines)):
        beside = path.parent / line
        # A file that is neither here nor there is reported when it is read, as a broken one is.
        yield str(beside if beside.exists() or not Path(line).exists() else Path(line))


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
    if source == '-':
        return '-: nothing came from standard input: pipe in paths, a line each, or an encoded film.'
    if Path(source).is_dir():
        return f'{source}: neither the folder nor its subfolders hold a picture ({endings}) or a film.'
    if Path(source).is_file():
        return f'{source}: the list names no picture; it holds a path per line.'
    return f'{source}: no picture ({endings}) has such a name; put the pattern into quotes, so that it arrives whole.'


def _paired(found: Sequence[_Found], pair_up: Callable) -> list[_Found]:
    """Replace the paths of pictures by pairs; what is the second of a pair is none of its own."""
    paths = [entry.path for entry in found if isinstance(entry.source, str) and entry.film is None]
    pairs = iter(pair_up(paths))
    kept = []
    for entry in found:
        if not isinstance(entry.source, str) or entry.film is not None:
            kept.append(entry)
        elif (pair := next(pairs)) is not None:
            kept.append(_Found(pair, entry.name))
    if not kept:
        raise UserError(f'{found[0].path}: there are event frames alone; name the pictures that they belong to.')
    return kept


def _named(found: Sequence[_Found], how: Sources) -> ItemList:
    """Take the ending off; of equal names all but the first keep it (``a``, ``a_png``), or are numbered."""
    names = Names()
    parts: list[Sequence[Item]] = []
    pictures: list[Item] = []
    num_pictures = 0
    for entry in found:
        name = names.take(entry.name, is_folder=entry.film is not None)
        if entry.film is None:
            pictures.append(Item(entry.source, name, None, num_pictures))
            num_pictures += 1
            continue
        film = entry.film(name)
        if film.is_live and len(found) > 1:
            raise UserError(f'{film.path} passes by only once: name no other source beside it.')
        parts += [pictures, film]
        pictures = []
    listed = ItemList([*parts, pictures])
    if listed.live is None and not len(listed):
        raise UserError(f'{found[0].path}: no frame lies between --start and --end.')
    return listed
