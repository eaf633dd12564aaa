"""Recordings of several views among what a user names: folders, or files by view."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmopt.datasets.common.cut_source import FoundSource
from mmopt.utils.errors import DataNotFoundError, UserError

__all__ = ['FilmedDrive', 'drive_of_files', 'find_drives', 'parse_views']

_FILMS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.ts', '.mts', '.wmv')
_KEYPOINTS = re.compile(r'\d+\.npz')


@dataclass(frozen=True)
class FilmedDrive:
    """The files of one recording, as :class:`~mmopt.datasets.video.layout.Recording` gives those of a data set.

    Attributes:
        path: What it is called in results.
        name: A short name.
        videos: File by view; what is not there has none.
        index_folder: Where stored frame indices may lie.
        keypoints: Folder of keypoints, one file per frame.
    """

    path: Path
    name: str
    videos: Mapping[str, Path]
    index_folder: Path | None = None
    keypoints: Path | None = None

    def video_path(self, view: str) -> Path:
        """Find the video of a view.

        Returns:
            The file.

        Raises:
            DataNotFoundError: If there is none.
        """
        if view not in self.videos:
            there = ', '.join(self.videos) or 'none'
            raise DataNotFoundError(f'{self.path}: no video of the view {view!r} ({view}.mp4); there: {there}.')
        return self.videos[view]

    def index_path(self, view: str) -> Path | None:
        """Return where the frame index of a view may be stored."""
        return None if self.index_folder is None else self.index_folder / f'{view}.npz'

    def keypoint_path(self, frame: int) -> Path:
        """Find the keypoints of a frame.

        Returns:
            The file.

        Raises:
            DataNotFoundError: If the recording has none.
        """
        if self.keypoints is None:
            raise DataNotFoundError(
                f'{self.path}: the model needs keypoints, and there is no folder of them; say --keypoints FOLDER.'
            )
        return self.keypoints / f'{frame:06d}.npz'


def parse_views(given: Any) -> dict[str, Path]:
    """Turn ``front=a.mp4`` texts, or a mapping, into files by view.

    Returns:
        The files.

    Raises:
        UserError: If a text is none of these.
    """
    if isinstance(given, Mapping):
        return {str(view): Path(file) for view, file in given.items()}
    views = {}
    for text in [given] if isinstance(given, str) else given:
        view, sign, file = text.partition('=')
        if not (view and sign and file):
            raise UserError(f'--view {text}: write VIEW=FILE, such as front=a.mp4.')
        views[view] = Path(file)
    return views


def drive_of_files(videos: Mapping[str, Path], views: Sequence[str], keypoints: Path | None) -> FoundSource:
    """Return the recording that is made of named files.

    Args:
        videos: File by view.
        views: Those that the model sees.
        keypoints: Folder of keypoints.

    Returns:
        The recording.

    Raises:
        UserError: If a view is unknown or missing, or a file is not there.
    """
    if unknown := [view for view in videos if view not in views]:
        raise UserError(f'There is no view {unknown[0]!r}: the model sees {", ".join(views)}.')
    if missing := [view for view in views if view not in videos]:
        raise UserError(f'The view {missing[0]!r} is not named: the model sees {", ".join(views)}.')
    if absent := [f'{view}={file}' for view, file in videos.items() if not file.is_file()]:
        raise UserError(f'--view {absent[0]}: there is no such file.')
    first = videos[views[0]]
    return _found(FilmedDrive(first, first.stem, videos, keypoints=keypoints), first.name)


def find_drives(named: Path, views: Sequence[str], keypoints: Path | None, *, needs_films: bool) -> list[FoundSource]:
    """List the recordings of a folder.

    Args:
        named: A folder with a video per view, called after it; or one with such folders in it: a data root, for one.
        views: Views that the model sees.
        keypoints: Folder of keypoints that the user named: of one recording, or with a folder per recording.
        needs_films: Whether the model sees videos; otherwise folders of keypoints are recordings.

    Returns:
        The recordings, by name.

    Raises:
        UserError: If there is none.
    """
    if not named.is_dir():
        raise UserError(
            f'{named}: a recording is a folder with {", ".join(f"{view}.mp4" for view in views)}; name it, or the '
            f'files with --view {" ".join(f"{view}=FILE" for view in views)}.'
            if needs_films
            else f'{named}: a recording is a folder of keypoints, an .npz file per frame; name that.'
        )
    found = list(_walk_films(named, views, keypoints) if needs_films else _walk_keypoints(named, views))
    if not found:
        looked_for = ', '.join(f'{view}.mp4' for view in views) if needs_films else 'keypoints (000000.npz, ...)'
        raise UserError(f'{named}: neither the folder nor its subfolders hold a recording: {looked_for}.')
    return found


def _walk(named: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, folders, names in os.walk(named):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        yield Path(folder), sorted(names)


def _called(folder: Path, named: Path) -> str:
    """Return the short name: its last two folders in a data root, else the path below what was named."""
    if _data_root(folder, 'videos_split') or _data_root(folder, 'keypoints'):
        return '/'.join(folder.resolve().parts[-2:])
    below = folder.relative_to(named).as_posix()
    return folder.resolve().name if below == '.' else below


def _data_root(folder: Path, kind: str) -> Path | None:
    """Return the data root that a folder belongs to as ``<kind>/<person>/<environment>``."""
    parents = folder.resolve().parents
    return parents[2] if len(parents) > 2 and parents[1].name == kind else None


def _walk_films(named: Path, views: Sequence[str], keypoints: Path | None) -> Iterator[FoundSource]:
    for folder, names in _walk(named):
        by_stem = {Path(name).stem.lower(): folder / name for name in names if Path(name).suffix.lower() in _FILMS}
        videos = {view: by_stem[view.lower()] for view in views if view.lower() in by_stem}
        if videos:
            name = _called(folder, named)
            root = _data_root(folder, 'videos_split')
            index = None if root is None else root / 'index' / name
            yield _found(FilmedDrive(folder, name, videos, index, _keypoints_of(folder, name, root, keypoints)), name)


def _keypoints_of(folder: Path, name: str, root: Path | None, given: Path | None) -> Path | None:
    places = [folder / 'keypoints', *([] if root is None else [root / 'keypoints' / name])]
    if given is not None:
        places = [given / name, given]
    return next((place for place in places if place.is_dir()), None)


def _walk_keypoints(named: Path, views: Sequence[str]) -> Iterator[FoundSource]:
    for folder, names in _walk(named):
        if any(_KEYPOINTS.fullmatch(name) for name in names):
            name = _called(folder, named)
            videos: dict[str, Path] = {}
            if (root := _data_root(folder, 'keypoints')) is not None:
                film = root / 'videos_split' / name / f'{views[0]}.mp4'
                videos = {views[0]: film} if film.is_file() else {}
            yield _found(FilmedDrive(folder, name, videos, keypoints=folder), name)


def _found(drive: FilmedDrive, name: str) -> FoundSource:
    # Folders of keypoints have a time of their own, which changes with the files in them.
    files = [*drive.videos.values(), *([] if drive.keypoints is None else [drive.keypoints])]
    path = str(drive.path)
    # A name without an ending: what is behind the last dot of a folder's name belongs to it.
    return FoundSource(drive, path, name if drive.path.is_file() else f'{name}.', tuple(map(str, files)) or (path,))
