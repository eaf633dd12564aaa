"""Tracks and annotations in parquet files, as :mod:`mmopt.datasets.tad.layout` lays them out.

Shape letters: T frames, M mice, P body parts, N annotated events.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.tad.layout import COLUMNS, parse_mouse
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.whole_file import whole_file

__all__ = [
    'MAX_FRAMES',
    'count_frames',
    'has_tracks',
    'list_body_parts',
    'read_annotation',
    'read_tracks',
    'video_length',
    'write_table',
    'write_tracks',
]

MAX_FRAMES = 10_000_000
"""A recording of 4 hours at 200 frames per second has 3 million: more is no frame number."""


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "Reading MABe's parquet files needs pyarrow: run `pip install -c requirements/constraints.txt -e '.[tad]'`."
        ) from error
    return pyarrow.parquet


def _open_table(path: Path) -> Any:
    parquet = _parquet()
    if not path.is_file():
        raise DataNotFoundError(f'{path} is missing; check the download with tools/datasets/prepare_mabe.py.')
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(f'{path}: not a readable parquet file ({error}).') from error


def _read_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    file = _open_table(path)
    missing = [name for name in names if name not in file.schema_arrow.names]
    if missing:
        raise DataError(f'{path}: missing column(s) {", ".join(missing)}; found {file.schema_arrow.names}.')
    try:
        table = file.read(columns=list(names))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: not a readable parquet file ({error}).') from error
    return {name: _to_numpy(table.column(name)) for name in names}


def _to_numpy(column: Any) -> np.ndarray:
    import pyarrow

    is_text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
    if not is_text:
        return column.to_numpy()
    # 600 000 strings per video: look at the few distinct ones only.
    encoded = column.combine_chunks().dictionary_encode()
    words = np.array(encoded.dictionary.to_pylist(), dtype=object)
    return words[encoded.indices.to_numpy(zero_copy_only=False)]


def count_frames(path: str | Path) -> int:
    """Return the number of frames of a tracking file from its footer, without reading the tracks.

    Returns:
        The last frame's number and one.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it cannot be read, or a number is no frame's.
    """
    path = Path(path)
    metadata = _open_table(path).metadata
    names = [metadata.schema.column(i).name for i in range(metadata.num_columns)]
    if 'video_frame' in names and metadata.num_row_groups:
        column = names.index('video_frame')
        statistics = [metadata.row_group(g).column(column).statistics for g in range(metadata.num_row_groups)]
        if all(item is not None and item.has_min_max for item in statistics):
            return int(_frame_numbers(path, np.array([item.max for item in statistics])).max()) + 1
    return int(_frame_numbers(path, _read_columns(path, ('video_frame',))['video_frame']).max(initial=-1)) + 1


def has_tracks(path: str | Path) -> bool:
    """Tell from its footer whether a parquet file has the columns of tracks.

    Returns:
        Whether it has them all.

    Raises:
        DataError: If it cannot be read.
    """
    return set(COLUMNS['tracking']) <= set(_open_table(Path(path)).schema_arrow.names)


def list_body_parts(path: str | Path) -> list[str]:
    """Return the names of the body parts of a tracking file, sorted."""
    return np.unique(_read_columns(Path(path), ('bodypart',))['bodypart'].astype(str)).tolist()


def read_tracks(path: str | Path, body_parts: Sequence[str]) -> np.ndarray:
    """Read a tracking file.

    Args:
        body_parts: Parts to keep, in this order.

    Returns:
        float32 (T, M, P, 2) in pixels, NaN where a point is missing; M is the largest mouse number.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it cannot be read, or holds no part of ``body_parts``.
    """
    path = Path(path)
    columns = _read_columns(path, COLUMNS['tracking'])
    place = {name: number for number, name in enumerate(body_parts)}
    names, which = np.unique(columns['bodypart'].astype(str), return_inverse=True)
    part = np.array([place.get(name, -1) for name in names], dtype=np.int64)[which]
    if not (part >= 0).any():
        raise DataError(
            f'{path}: none of the body parts {list(body_parts)}; found {names.tolist()}. Upper and lower case differ.'
        )
    frame, mouse = _frame_numbers(path, columns['video_frame']), _mouse_numbers(path, columns['mouse_id'])
    tracks_TMP2 = np.full((frame.max() + 1, mouse.max() + 1, len(body_parts), 2), np.nan, dtype=np.float32)
    keep = part >= 0
    xy = np.stack((columns['x'], columns['y']), axis=-1)
    tracks_TMP2[frame[keep], mouse[keep], part[keep]] = xy[keep]
    return tracks_TMP2


def _frame_numbers(path: Path, column: np.ndarray, name: str = 'video_frame') -> np.ndarray:
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f'{path}: {name} holds something that is no number: {error}.') from error
    bad = ~((numbers >= 0) & (numbers < MAX_FRAMES) & (numbers == np.floor(numbers)))
    if bad.any():
        raise DataError(
            f'{path}: {name} must hold whole numbers from 0 to {MAX_FRAMES - 1}; row {bad.argmax()} has '
            f'{column[bad.argmax()]}.'
        )
    return numbers.astype(np.int64)


def _mouse_numbers(path: Path, column: np.ndarray) -> np.ndarray:
    """Return indices from 0 of ``1`` or ``'mouse1'``."""
    values, which = np.unique(column.astype(str), return_inverse=True)
    try:
        # Numbers may have been kept as floats: 1.0.
        indices = np.array([parse_mouse(value.removesuffix('.0')) for value in values])
    except ValueError as error:
        raise DataError(f'{path}: mouse_id: {error}.') from error
    if (indices < 0).any():
        raise DataError(f'{path}: mouse_id: tracks are of one mouse, not of all.')
    return indices[which]


def read_annotation(path: str | Path, classes: Sequence[str]) -> np.ndarray:
    """Read an annotation file.

    Args:
        classes: Names of the actions.

    Returns:
        int64 (N, 5): start, stop (excluded), agent, target, action; ordered by start.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it cannot be read, an action is unknown, or an event is empty.
    """
    path = Path(path)
    columns = _read_columns(path, COLUMNS['annotation'])
    number = {name: index for index, name in enumerate(classes)}
    columns |= {name: _frame_numbers(path, columns[name], name) for name in ('start_frame', 'stop_frame')}
    rows = []
    for row, (agent_id, target_id, action, start, stop) in enumerate(zip(*columns.values(), strict=True)):
        action = str(action).strip('\'"')
        if action not in number:
            raise DataError(f'{path}: row {row}: unknown action {action!r}; known: {sorted(classes)}.')
        if not start < stop:
            raise DataError(f'{path}: row {row}: start_frame {start} and stop_frame {stop} make no interval.')
        try:
            agent = parse_mouse(agent_id)
            target = parse_mouse(target_id, agent)
        except ValueError as error:
            raise DataError(f'{path}: row {row}: {error}.') from error
        rows.append((int(start), int(stop), agent, target, number[action]))
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, 5)


def video_length(num_tracked: int, events_N5: np.ndarray, path: str | Path) -> int:
    """Return the frames of a video whose tracks may end before it does: no animal may be seen at the end.

    Args:
        num_tracked: Frames up to the last tracked point.
        path: The annotation, for the message.

    Returns:
        The last of both ends.

    Raises:
        DataError: If events go on for more than a twentieth of the video: then the two are not of one video.
    """
    last = int(events_N5[:, 1].max(initial=0))
    if last > 1.05 * num_tracked:
        raise DataError(f'{path}: an event stops at frame {last}, but the tracks have only {num_tracked} frames.')
    return max(num_tracked, last)


def write_table(path: str | Path, columns: dict[str, Iterable]) -> None:
    """Write a parquet file, its folder included, through a temporary name: a stopped run leaves no half file."""
    parquet = _parquet()
    import pyarrow

    table = pyarrow.table({name: v if hasattr(v, 'dtype') else list(v) for name, v in columns.items()})
    with whole_file(path) as unfinished:
        parquet.write_table(table, unfinished)


def write_tracks(path: str | Path, tracks_TMP2: np.ndarray, body_parts: Sequence[str]) -> None:
    """Write a tracking file.

    Args:
        tracks_TMP2: Positions in pixels; what is NaN is left out, but for one point of the last frame: it tells how
            long the video is.
        body_parts: Names of the P parts.
    """
    written_TMP = np.isfinite(tracks_TMP2).all(-1)
    written_TMP[-1:, :1, :1] = True
    frame, mouse, part = np.nonzero(written_TMP)
    columns = dict(
        video_frame=frame.astype(np.int32),
        mouse_id=(mouse + 1).astype(np.int8),
        bodypart=[body_parts[number] for number in part.tolist()],
        x=tracks_TMP2[frame, mouse, part, 0],
        y=tracks_TMP2[frame, mouse, part, 1],
    )
    write_table(path, columns)
