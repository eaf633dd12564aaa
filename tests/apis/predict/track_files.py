"""One recording as every program would have written it."""

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.tables import write_tracks

PARTS = ('nose', 'ear_left', 'ear_right', 'neck', 'tail_base')
ANIMALS = ('rat a', 'größe')


def made_up_tracks(num_frames: int = 230, num_animals: int = 2) -> np.ndarray:
    """Return a walk in whole pixels, so that every file keeps the same numbers."""
    steps = np.random.default_rng(0).integers(-6, 7, (num_frames, num_animals, 1, 2)).cumsum(axis=0)
    body = 20 * np.stack((np.arange(len(PARTS)), np.arange(len(PARTS)) % 2), axis=-1)
    tracks = (steps + body).astype(np.float64)
    return tracks - tracks.min(axis=(0, 1, 2))


def _rows(path: Path, rows: list) -> None:
    with path.open('w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows(rows)


def _points(frame: np.ndarray) -> list:
    return [value for animal in frame for x, y in animal for value in (x, y, 0.9)]


def write_deeplabcut(path: Path, tracks: np.ndarray) -> None:
    columns = [(animal, part, c) for animal in ANIMALS for part in PARTS for c in ('x', 'y', 'likelihood')]
    head = [['scorer', *['net'] * len(columns)]]
    for place, name in enumerate(('individuals', 'bodyparts', 'coords')):
        head.append([name, *(column[place] for column in columns)])
    _rows(path, head + [[number, *_points(frame)] for number, frame in enumerate(tracks)])


def write_deeplabcut_hdf5(path: Path, tracks: np.ndarray) -> None:
    import h5py

    names = [('net', animal, part, c) for animal in ANIMALS for part in PARTS for c in ('x', 'y', 'likelihood')]
    values = np.array([_points(frame) for frame in tracks])
    with h5py.File(path, 'w') as file:
        group = file.create_group('df_with_missing')
        group.attrs['pandas_type'] = np.bytes_(b'frame_table')
        rows = np.zeros(len(values), dtype=[('index', '<i8'), ('values_block_0', '<f8', (values.shape[1],))])
        rows['index'], rows['values_block_0'] = range(len(values)), values
        table = group.create_dataset('table', data=rows)
        table.attrs['values_block_0_kind'] = np.bytes_(pickle.dumps(names, protocol=0))


def write_simba(path: Path, tracks: np.ndarray) -> None:
    names = [f'{part}_{number + 1}_{c}' for number in range(len(ANIMALS)) for part in PARTS for c in 'xyp']
    _rows(path, [['', *names], *([number, *_points(frame)] for number, frame in enumerate(tracks))])


def write_sleap(path: Path, tracks: np.ndarray) -> None:
    names = [f'{part}.{c}' for part in PARTS for c in ('x', 'y', 'score')]
    rows = [
        [animal, number, 0.9, *_points(frame[[place]])]
        for number, frame in enumerate(tracks)
        for place, animal in enumerate(ANIMALS)
    ]
    _rows(path, [['track', 'frame_idx', 'instance.score', *names], *rows])


def write_sleap_hdf5(path: Path, tracks: np.ndarray) -> None:
    import h5py

    with h5py.File(path, 'w') as file:
        file['tracks'] = tracks.transpose(1, 3, 2, 0)
        file['node_names'] = [part.encode() for part in PARTS]
        file['track_names'] = [animal.encode() for animal in ANIMALS]


def write_mabe(path: Path, tracks: np.ndarray) -> None:
    write_tracks(path, tracks.astype(np.float32), PARTS)


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    'deeplabcut.csv': write_deeplabcut,
    'deeplabcut.h5': write_deeplabcut_hdf5,
    'simba.csv': write_simba,
    'sleap.csv': write_sleap,
    'sleap.h5': write_sleap_hdf5,
    'mabe.parquet': write_mabe,
}
