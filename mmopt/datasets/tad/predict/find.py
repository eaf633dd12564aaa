"""Files of tracks among what a user names."""

import os
from collections.abc import Iterator
from pathlib import Path

from mmopt.datasets.common.cut_source import FoundSource
from mmopt.datasets.tad.prepare.deeplabcut import is_wide
from mmopt.datasets.tad.prepare.sleap import is_sleap
from mmopt.datasets.tad.prepare.text import read_head
from mmopt.datasets.tad.tables import has_tracks
from mmopt.utils.errors import DataError, UserError

__all__ = ['TRACK_SUFFIXES', 'find_tracks']

_TABLES = ('.csv', '.tsv')
TRACK_SUFFIXES = (*_TABLES, '.parquet', '.h5', '.hdf5', '.hdf')
"""Of two files of a folder that differ in their ending alone, as DeepLabCut writes them, the first of these counts."""


def find_tracks(named: str | Path) -> list[FoundSource]:
    """List the tracks that a file or a folder holds.

    Args:
        named: A file, whatever its name; or a folder, of which all files with tracks are taken, those of subfolders as
            well. Other tables (annotations, lists of videos) are passed over.

    Returns:
        The files, by name.

    Raises:
        UserError: If a folder holds none.
    """
    path = Path(named)
    if not path.is_dir():
        return [_found(path, path.name)]
    found = [_found(file, file.relative_to(path).as_posix()) for file in _walk(path)]
    if not found:
        raise UserError(
            f'{path}: neither the folder nor its subfolders hold tracks ({", ".join(TRACK_SUFFIXES)} of MABe, '
            'DeepLabCut, SimBA or SLEAP).'
        )
    return found


def _found(file: Path, name: str) -> FoundSource:
    return FoundSource(str(file), str(file), name, (str(file),))


def _walk(folder: Path) -> Iterator[Path]:
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        by_stem: dict[str, list[Path]] = {}
        for name in sorted(names):
            file = Path(inside, name)
            if not name.startswith('.') and file.suffix.lower() in TRACK_SUFFIXES and _may_hold_tracks(file):
                by_stem.setdefault(file.stem, []).append(file)
        for twins in by_stem.values():
            yield min(twins, key=lambda file: TRACK_SUFFIXES.index(file.suffix.lower()))


def _may_hold_tracks(path: Path) -> bool:
    """Tell tables of tracks from others; what cannot be read is taken, and reported when it is."""
    try:
        if path.suffix.lower() == '.parquet':
            return has_tracks(path)
        if path.suffix.lower() in _TABLES:
            rows = read_head(path)
            return not rows or is_sleap(rows) or is_wide(rows)
    except (DataError, OSError):
        pass
    return True
