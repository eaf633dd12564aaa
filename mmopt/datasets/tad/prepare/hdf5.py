"""HDF5 files of tracks, through h5py: no pandas, PyTables or unpickled objects are needed."""

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.tad.prepare.tracks import COORDINATES, Column, PoseTracks, fill_tracks, number_frames
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['open_hdf5', 'read_deeplabcut_hdf5', 'read_names']

_OTHER_WAY = 'Use the CSV that DeepLabCut writes beside it.'


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file to read.

    Yields:
        The h5py file.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no HDF5 file.
        UserError: If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            "Reading .h5 files needs h5py: run `pip install -c requirements/constraints.txt -e '.[tad]'`, or export "
            'CSV.'
        ) from error
    if not path.is_file():
        raise DataNotFoundError(f'{path} is missing.')
    try:
        file = h5py.File(path, 'r')
    except OSError as error:
        raise DataError(f'{path}: not a readable HDF5 file ({error}).') from error
    with file:
        yield file


def read_names(dataset: Any) -> tuple[str, ...]:
    """Return a data set of texts."""
    return tuple(
        value.decode('utf-8', errors='replace') if isinstance(value, bytes) else str(value)
        for value in np.ravel(dataset[()])
    )


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, tuples, texts and numbers, and refuses everything that would import something."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'{module}.{name} is no plain value')


def read_deeplabcut_hdf5(path: str | Path, min_likelihood: float = 0.0) -> PoseTracks:
    """Read the HDF5 file that DeepLabCut writes beside its CSV: a pandas table.

    Pandas keeps the columns' names as a pickle of plain tuples; nothing else is unpickled.

    Args:
        min_likelihood: Points below it count as missing.

    Returns:
        The tracks.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it holds no pandas table with columns of coordinates.
        UserError: If h5py is not installed.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        frame = next((group for group in file.values() if 'pandas_type' in group.attrs), None)
        if frame is None:
            raise DataError(f'{path}: no pandas table as DeepLabCut writes it; found {sorted(file)}. {_OTHER_WAY}')
        names, values, index = _read_table(path, frame['table']) if 'table' in frame else _read_fixed(path, frame)
    frames = number_frames(path, [cell.decode() if isinstance(cell, bytes) else f'{cell:.15g}' for cell in index], 1)
    columns = []
    for name in names:
        if len(name) < 3 or name[-1].lower() not in COORDINATES:
            raise DataError(f'{path}: column {name} is no (scorer, body part, coordinate) as DeepLabCut names them.')
        columns.append(Column(name[-3] if len(name) > 3 else 'individual1', name[-2], COORDINATES[name[-1].lower()]))
    if len(columns) != values.shape[1]:
        raise DataError(f'{path}: {values.shape[1]} columns of values, {len(columns)} names. {_OTHER_WAY}')
    return fill_tracks(path, frames, columns, values, min_likelihood)


def _read_table(path: Path, table: Any) -> tuple[list[tuple[str, ...]], np.ndarray, np.ndarray]:
    """Read pandas' format "table": one record per row, one block of columns per type of number."""
    blocks = sorted(name for name in table.dtype.names if name.startswith('values_block_'))
    names = [name for block in blocks for name in _unpickle_names(path, table.attrs.get(f'{block}_kind'))]
    rows = table[()]
    values = np.concatenate([np.asarray(rows[block], dtype=np.float64) for block in blocks], axis=1)
    return names, values, rows['index'] if 'index' in table.dtype.names else np.arange(len(rows))


def _read_fixed(path: Path, frame: Any) -> tuple[list[tuple[str, ...]], np.ndarray, np.ndarray]:
    """Read pandas' format "fixed": each level of the columns' names as a list of words and a number per column."""
    if 'axis1' not in frame or 'block0_items_level0' not in frame:
        raise DataError(f'{path}: its rows or columns have names of another kind. {_OTHER_WAY}')
    names, blocks = [], []
    for block in range(int(frame.attrs['nblocks'])):
        levels = range(int(frame.attrs[f'block{block}_items_nlevels']))
        words = [read_names(frame[f'block{block}_items_level{level}']) for level in levels]
        places = [np.asarray(frame[f'block{block}_items_label{level}']) for level in levels]
        names += [
            tuple(word[place] for word, place in zip(words, column, strict=True))
            for column in zip(*places, strict=True)
        ]
        blocks.append(np.asarray(frame[f'block{block}_values'], dtype=np.float64))
    return names, np.concatenate(blocks, axis=1), np.asarray(frame['axis1'])


def _unpickle_names(path: Path, pickled: Any) -> list[tuple[str, ...]]:
    if pickled is None:
        raise DataError(f'{path}: the table has no names of columns. {_OTHER_WAY}')
    try:
        names = _PlainUnpickler(io.BytesIO(bytes(pickled))).load()
        return [tuple(str(word) for word in name) for name in names]
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError) as error:
        raise DataError(f'{path}: the names of the columns cannot be read: {error}. {_OTHER_WAY}') from error
