"""Tracks of a session, from whatever program wrote them."""

from pathlib import Path

from mmopt.datasets.tad.prepare.deeplabcut import is_wide, read_deeplabcut
from mmopt.datasets.tad.prepare.hdf5 import open_hdf5, read_deeplabcut_hdf5
from mmopt.datasets.tad.prepare.sleap import is_sleap, read_sleap, read_sleap_hdf5
from mmopt.datasets.tad.prepare.text import read_rows
from mmopt.datasets.tad.prepare.tracks import PoseTracks
from mmopt.utils.errors import DataError

__all__ = ['read_poses']

_HDF5 = ('.h5', '.hdf5', '.hdf')


def read_poses(path: str | Path, min_likelihood: float = 0.0) -> PoseTracks:
    """Read tracks of DeepLabCut, SimBA or SLEAP, as CSV or HDF5; the content tells which.

    Args:
        min_likelihood: Points below it count as missing.

    Returns:
        The tracks.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is none of these, or broken.
        UserError: If it is HDF5 and h5py is not installed.
    """
    path = Path(path)
    if path.suffix.lower() in _HDF5:
        with open_hdf5(path) as file:
            is_analysis = 'tracks' in file
        return (read_sleap_hdf5 if is_analysis else read_deeplabcut_hdf5)(path, min_likelihood)
    rows = read_rows(path)
    if is_sleap(rows):
        return read_sleap(path, min_likelihood)
    if is_wide(rows):
        return read_deeplabcut(path, min_likelihood)
    raise DataError(
        f'{path}: neither a table of DeepLabCut or SimBA (a row of "x, y, likelihood" or "nose_x, nose_y, nose_p") nor '
        f'one of SLEAP ("frame_idx, nose.x, nose.y"); the first row is {rows[0][:6]}.'
    )
