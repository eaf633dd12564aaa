"""Tracks of SLEAP: the analysis CSV, one row per animal and frame, and the analysis HDF5 file.

Shape letters: T frames, M individuals, P body parts.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.prepare.hdf5 import open_hdf5, read_names
from mmopt.datasets.tad.prepare.text import check_widths, read_rows
from mmopt.datasets.tad.prepare.tracks import COORDINATES, Column, PoseTracks, fill_tracks, number_frames, parse_values
from mmopt.utils.errors import DataError

__all__ = ['is_sleap', 'read_sleap', 'read_sleap_hdf5']

_INDEX = ('track', 'frame_idx')


def is_sleap(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether rows are SLEAP's analysis CSV."""
    return 'frame_idx' in rows[0] and any(name.endswith('.x') for name in rows[0])


def read_sleap(path: str | Path, min_likelihood: float = 0.0) -> PoseTracks:
    """Read an analysis CSV: ``track, frame_idx, instance.score, nose.x, nose.y, nose.score, ...``.

    Args:
        min_likelihood: Points below it count as missing.

    Returns:
        The tracks, up to the last frame in which an animal is found.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If a column is missing, a number is none, or two animals of one frame have the same track.
    """
    path = Path(path)
    rows = read_rows(path)
    if not is_sleap(rows):
        raise DataError(f'{path}: no columns frame_idx and <part>.x as SLEAP writes; the first row is {rows[0][:6]}.')
    names, body = rows[0], rows[1:]
    points = []
    for number, name in enumerate(names):
        part, _, coordinate = name.rpartition('.')
        if part and part != 'instance' and coordinate in COORDINATES:
            points.append((number, part, COORDINATES[coordinate]))
    check_widths(path, body, len(names), 2)
    frames = number_frames(path, [row[names.index('frame_idx')] for row in body], 2)
    values = parse_values(path, [[row[k] for k, *_ in points] for row in body], 2)
    tracks = [row[names.index('track')] if 'track' in names else '' for row in body]
    animals = tuple(dict.fromkeys(tracks))
    if not animals:
        raise DataError(f'{path}: no frames in it.')
    if animals == ('',):
        _refuse_untracked(path, frames)
    num_frames = int(frames.max()) + 1
    parts: list[PoseTracks] = []
    for animal in animals:
        mine = np.array([track == animal for track in tracks])
        columns = [Column(animal or 'individual1', part, kind) for _, part, kind in points]
        parts.append(fill_tracks(path, frames[mine], columns, values[mine], min_likelihood, num_frames))
    position = np.concatenate([part.position_TMP2 for part in parts], axis=1)
    # An animal that is not found in a frame has no row: that is no oddity of the file.
    return PoseTracks(position, tuple(name for part in parts for name in part.individuals), parts[0].body_parts)


def _refuse_untracked(path: Path, frames: np.ndarray) -> None:
    numbers, counts = np.unique(frames, return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f'{path}: frame {numbers[counts.argmax()]} has {counts.max()} animals and no track tells them apart. Track '
            'the predictions in SLEAP before the export.'
        )


def read_sleap_hdf5(path: str | Path, min_likelihood: float = 0.0) -> PoseTracks:
    """Read an analysis HDF5 file: ``tracks`` (animals, 2, parts, frames), ``node_names``, ``track_names``.

    Args:
        min_likelihood: Points below it count as missing.

    Returns:
        The tracks.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is none of SLEAP's.
        UserError: If h5py is not installed.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        if 'tracks' not in file or 'node_names' not in file:
            raise DataError(f'{path}: no data sets tracks and node_names as in an analysis file; found {sorted(file)}.')
        tracks_MCPT = np.asarray(file['tracks'], dtype=np.float32)
        parts = read_names(file['node_names'])
        if tracks_MCPT.ndim != 4 or tracks_MCPT.shape[1:3] != (2, len(parts)):
            raise DataError(
                f'{path}: tracks has shape {tracks_MCPT.shape}, expected (animals, 2, {len(parts)} parts, frames).'
            )
        animals = read_names(file['track_names']) if 'track_names' in file else ()
        scores = np.asarray(file['point_scores']) if 'point_scores' in file else None
    if len(animals) != len(tracks_MCPT):
        animals = tuple(f'individual{number + 1}' for number in range(len(tracks_MCPT)))
    position_TMP2 = np.ascontiguousarray(tracks_MCPT.transpose(3, 0, 2, 1))
    missing_TMP = ~np.isfinite(position_TMP2).all(-1)
    if scores is not None:
        missing_TMP |= scores.transpose(2, 0, 1) < min_likelihood
    position_TMP2[missing_TMP] = np.nan
    return PoseTracks(position_TMP2, animals, parts)
