"""A small reader of nuScenes' JSON tables; the schema is at https://www.nuscenes.org/nuscenes#data-format.

The large tables (``sample_data`` and ``ego_pose`` have 2.6 million records, ``sample_annotation`` 1.2 million) are read
record by record and only what the labels need is kept: the key frames of the chosen cameras and of the LiDAR. So memory
stays below a gigabyte where ``json.load`` takes many.
"""

import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.bev.prepare.map_expansion import MapGround, count_bad_outlines
from mmopt.datasets.bev.prepare.views import CATEGORY_TO_CLASS, CLASSES, IGNORE, Boxes, View, numbers, pose
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['find_version', 'iter_records', 'nuscenes_views', 'scene_names']

_LIDAR = 'LIDAR_TOP'
_CHUNK = 1 << 22  # characters


def iter_records(path: Path, columns: Sequence[str]) -> Iterator[tuple]:
    """Read a table (a JSON list of objects) without holding it in memory.

    Args:
        path: The table.
        columns: What to take from each record.

    Yields:
        tuple: The columns of one record.

    Raises:
        DataNotFoundError: If the table is missing.
        DataError: If it is no list of objects, is cut off, or lacks a column.
    """
    decoder = json.JSONDecoder()
    try:
        file = open(path, encoding='utf-8')  # noqa: SIM115 - closed below; only the opening is guarded
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f'{path}: no such table. Unpack the metadata of nuScenes (v1.0-*_meta.tgz, v1.0-mini.tgz) into '
            f'{path.parent.parent}.'
        ) from error
    with file:
        text = file.read(_CHUNK).lstrip()
        if not text.startswith('['):
            raise DataError(f'{path}: a table is a JSON list of objects, this begins with {text[:20]!r}.')
        position, at_end = 1, False
        while True:
            position = _skip(text, position)
            try:
                if text[position : position + 1] == ']':
                    return
                record, position = decoder.raw_decode(text, position)
            except json.JSONDecodeError as error:
                if at_end:
                    raise DataError(
                        f'{path}: the table is cut off or broken ({error.msg}). Unpack it again.'
                    ) from error
                more = file.read(_CHUNK)
                text, position, at_end = text[position:] + more, 0, not more
                continue
            try:
                yield tuple(record[column] for column in columns)
            except (KeyError, TypeError) as error:
                raise DataError(
                    f'{path}: a record lacks the column {error}; it is {str(record)[:100]}. Is this a nuScenes table?'
                ) from error


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in ', \n\r\t':
        position += 1
    return position


def find_version(root: Path, version: str | None) -> str:
    """Find the folder of the tables.

    Args:
        root: nuScenes folder.
        version: Its name, or None if there is only one.

    Returns:
        The name, such as ``v1.0-mini``.

    Raises:
        DataNotFoundError: If there is none, or not the one asked for.
        UserError: If there are several and none was asked for.
    """
    found = sorted(path.name for path in root.glob('v1.0-*') if (path / 'sample_data.json').is_file())
    if version is not None:
        if version not in found:
            raise DataNotFoundError(f'{root / version}: no tables there; found: {", ".join(found) or "none"}.')
        return version
    if not found:
        raise DataNotFoundError(
            f'{root}: neither a nuScenes folder (no v1.0-*/sample_data.json) nor a key frame (no keyframe.json). '
            'Unpack nuScenes there, so that v1.0-trainval, samples and maps lie side by side.'
        )
    if len(found) > 1:
        raise UserError(f'{root} holds {" and ".join(found)}: choose one with --version.')
    return found[0]


def scene_names(root: Path, version: str) -> list[str]:
    """List the names of all scenes in the tables."""
    return [name for (name,) in iter_records(root / version / 'scene.json', ['name'])]


class _Tables:
    def __init__(self, root: Path, version: str) -> None:
        self.folder = root / version

    def rows(self, table: str, *columns: str) -> Iterator[tuple]:
        return iter_records(self.folder / f'{table}.json', columns)

    def look_up(self, table: str, column: str) -> dict[str, str]:
        return dict(self.rows(table, 'token', column))


def nuscenes_views(
    root: Path, version: str, scene_to_split: dict[str, str], cameras: Sequence[str], with_lidar: bool,
    say: Callable[[str], object] = lambda text: None,
) -> list[View]:  # fmt: skip
    """List the views of all key frames of the chosen scenes.

    Args:
        root: nuScenes folder: ``v1.0-*``, ``samples``, ``maps/expansion``.
        version: Folder of the tables.
        scene_to_split: ``train`` or ``val`` by name of the scene; other scenes are left out.
        cameras: Channels, such as ``CAM_FRONT``.
        with_lidar: Whether views get their LiDAR sweep.
        say: Takes what was left out, with its reason.

    Returns:
        One view per key frame and camera, in the order of the tables; named by the token of its ``sample_data``.

    Raises:
        DataError: If a table refers to something that is not there, or a pose, a camera matrix or the size of a picture
            is none.
        UserError: If a camera is unknown.
    """
    tables = _Tables(root, version)
    sample_to_scene = _samples(tables, scene_to_split)
    channels = _calibrations(tables)
    known = sorted({channel for channel, *_ in channels.values() if channel.startswith('CAM')})
    if unknown := set(cameras) - set(known):
        raise UserError(f'{version} has no camera {", ".join(sorted(unknown))}; it has {", ".join(known)}.')
    wanted = {*cameras, _LIDAR} if with_lidar else set(cameras)
    frames = _key_frames(tables, sample_to_scene, channels, wanted)
    poses = _ego_poses(tables, {frame['ego_pose'] for frame in frames})
    boxes = _boxes(tables, sample_to_scene.keys(), say)
    lidars = {frame['sample']: frame for frame in frames if frame['channel'] == _LIDAR}
    grounds = {
        location: MapGround(root / 'maps' / 'expansion' / f'{location}.json')
        for location in {location for _, location in sample_to_scene.values()}
    }

    for ground in grounds.values():
        if bad := count_bad_outlines(ground.path):
            say(f'{ground.path}: {bad} outlines of fewer than three nodes or without numbers have no area: left out.')

    def sensor_to_world(frame: dict) -> np.ndarray:
        _, translation, rotation, _ = channels[frame['sensor']]
        return poses[frame['ego_pose']] @ _pose(tables, 'calibrated_sensor', frame['sensor'], translation, rotation)

    views = []
    for frame in frames:
        if frame['channel'] == _LIDAR:
            continue
        scene, location = sample_to_scene[frame['sample']]
        lidar = lidars.get(frame['sample'])
        if with_lidar and lidar is None:
            raise DataError(
                f'{tables.folder}/sample_data.json: sample {frame["sample"]} has no {_LIDAR}. Pass --occlusion boxes.'
            )
        views.append(
            View(
                name=frame['token'],
                splits=(scene_to_split[scene],),
                image=root / frame['file'],
                size=_picture_size(tables, frame),
                intrinsics_33=_camera_matrix(tables, frame['sensor'], channels[frame['sensor']][3]),
                camera_to_world_44=sensor_to_world(frame),
                ego_to_world_44=poses[frame['ego_pose']],
                boxes=boxes[frame['sample']],
                ground=grounds[location],
                lidar=root / lidar['file'] if lidar else None,
                lidar_to_world_44=sensor_to_world(lidar) if lidar else None,
            )
        )
    return views


def _samples(tables: _Tables, scene_to_split: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Map each sample of the chosen scenes to its scene's name and location."""
    locations = tables.look_up('log', 'location')
    scenes = {}
    for token, name, log in tables.rows('scene', 'token', 'name', 'log_token'):
        if name in scene_to_split:
            scenes[token] = (name, _get(locations, log, tables, 'scene', 'log'))
    return {token: scenes[scene] for token, scene in tables.rows('sample', 'token', 'scene_token') if scene in scenes}


def _pose(tables: _Tables, table: str, token: str, translation: Any, rotation: Any) -> np.ndarray:
    try:
        return pose(translation, rotation)
    except ValueError as error:
        raise DataError(f'{tables.folder}/{table}.json: {token}: {error}. Unpack the tables again.') from error


def _camera_matrix(tables: _Tables, token: str, rows: Any) -> np.ndarray:
    try:
        matrix_33 = numbers(rows, 3, 3)
        if matrix_33[0, 0] <= 0 or matrix_33[1, 1] <= 0:
            raise ValueError(f'{rows} has no focal length')
    except ValueError as error:
        raise DataError(f'{tables.folder}/calibrated_sensor.json: {token}: camera matrix: {error}.') from error
    return matrix_33


def _picture_size(tables: _Tables, frame: dict) -> tuple[int, int]:
    width, height = frame['size']
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise DataError(f'{tables.folder}/sample_data.json: {frame["token"]}: a picture of {width} x {height} pixels.')
    return width, height


def _calibrations(tables: _Tables) -> dict[str, tuple[str, Any, Any, Any]]:
    """Map each calibrated sensor to its channel, its pose on the car and its camera matrix, as the table has them."""
    sensors = tables.look_up('sensor', 'channel')
    columns = ('token', 'sensor_token', 'translation', 'rotation', 'camera_intrinsic')
    return {
        token: (_get(sensors, sensor, tables, 'calibrated_sensor', 'sensor'), translation, rotation, matrix)
        for token, sensor, translation, rotation, matrix in tables.rows('calibrated_sensor', *columns)
    }


def _key_frames(tables: _Tables, samples: dict, channels: dict, wanted: set[str]) -> list[dict]:
    columns = ('token', 'sample_token', 'ego_pose_token', 'calibrated_sensor_token', 'filename', 'is_key_frame',
               'width', 'height')  # fmt: skip
    frames = []
    for token, sample, ego_pose, sensor, file, is_key_frame, width, height in tables.rows('sample_data', *columns):
        if is_key_frame and sample in samples:
            channel = _get(channels, sensor, tables, 'sample_data', 'calibrated_sensor')[0]
            if channel in wanted:
                frames.append(dict(token=token, sample=sample, ego_pose=ego_pose, sensor=sensor, file=file,
                                   channel=channel, size=(width, height)))  # fmt: skip
    return frames


def _ego_poses(tables: _Tables, wanted: set[str]) -> dict[str, np.ndarray]:
    poses = {
        token: _pose(tables, 'ego_pose', token, translation, rotation)
        for token, translation, rotation in tables.rows('ego_pose', 'token', 'translation', 'rotation')
        if token in wanted
    }
    for token in wanted:
        _get(poses, token, tables, 'sample_data', 'ego_pose')
    return poses


def _boxes(tables: _Tables, samples: Iterable[str], say: Callable[[str], object]) -> dict[str, Boxes]:
    categories = tables.look_up('category', 'name')
    instance_to_class = {}
    for token, category in tables.rows('instance', 'token', 'category_token'):
        name = CATEGORY_TO_CLASS.get(_get(categories, category, tables, 'instance', 'category'))
        instance_to_class[token] = IGNORE if name is None else CLASSES.index(name)
    # Flat numbers, 88 bytes per box: as Python objects 1.2 million boxes take over a gigabyte.
    flat = {sample: array('d') for sample in samples}
    num_bad = 0
    columns = ('sample_token', 'instance_token', 'translation', 'size', 'rotation')
    for sample, instance, translation, size, rotation in tables.rows('sample_annotation', *columns):
        if sample in flat:
            class_index = _get(instance_to_class, instance, tables, 'sample_annotation', 'instance')
            if _is_box(translation, size, rotation):
                flat[sample].extend([*translation, *size, *rotation, class_index])
            else:
                num_bad += 1
    if num_bad:
        say(f'{num_bad} boxes of sample_annotation.json have no finite place, no size or no rotation: left out.')
    return {sample: _to_boxes(np.array(values).reshape(-1, 11)) for sample, values in flat.items()}


def _is_box(translation: Any, size: Any, rotation: Any) -> bool:
    try:
        whole = len(translation) == len(size) == 3 and len(rotation) == 4
        return whole and math.isfinite(sum((*translation, *size, *rotation))) and min(size) > 0 and any(rotation)
    except TypeError:  # null in the place of a number, or of all of them
        return False


def _to_boxes(numbers_NK: np.ndarray) -> Boxes:
    return Boxes(
        centers_N3=numbers_NK[:, :3],
        sizes_N3=numbers_NK[:, [4, 3, 5]],  # nuScenes gives width, length, height
        rotations_N33=np.array([pose([0, 0, 0], row[6:10])[:3, :3] for row in numbers_NK]).reshape(-1, 3, 3),
        classes_N=numbers_NK[:, 10].astype(np.int64),
    )


def _get(table: dict, token: str, tables: _Tables, source: str, target: str):
    try:
        return table[token]
    except KeyError as error:
        raise DataError(
            f'{tables.folder}/{source}.json refers to {target} {token!r}, which {target}.json does not hold. '
            'The tables must come from one release.'
        ) from error
