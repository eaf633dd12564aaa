"""Key frames with their camera matrices, of nuScenes' tables or of a ``keyframe.json``; no map or box is needed."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.utils.errors import DataError, UserError

__all__ = ['CameraFrame', 'camera_frames', 'find_root', 'is_root']

_KEYFRAME = 'keyframe.json'
_DEFAULT = 'CAM_FRONT'


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One picture.

    Attributes:
        token: Of its ``sample_data``.
        size: Height and width that the matrix is of.
    """

    token: str
    path: Path
    size: tuple[int, int]
    intrinsics_33: np.ndarray


def is_root(folder: Path) -> bool:
    """Tell whether a folder holds nuScenes' tables, or a key frame."""
    return (folder / _KEYFRAME).is_file() or any(folder.glob('v1.0-*/sample_data.json'))


def find_root(picture: Path, num_levels: int) -> Path | None:
    """Return the folder of tables, or of a key frame, that a picture lies in."""
    return next((folder for folder in list(picture.resolve().parents)[:num_levels] if is_root(folder)), None)


def camera_frames(root: Path, version: str | None, camera: str | None) -> list[CameraFrame]:
    """List the key frames of a camera, in the order of the tables.

    Args:
        root: nuScenes folder, or a key frame's.
        version: Folder of the tables; None if there is only one.
        camera: Channel; None: ``CAM_FRONT`` of nuScenes, all of a key frame.

    Returns:
        At least one frame.

    Raises:
        DataNotFoundError: If a table is missing.
        DataError: If a table is broken, or the camera has no key frame.
        UserError: If the camera is unknown, or there are several versions.
    """
    if (root / _KEYFRAME).is_file():
        return _of_keyframe(root, camera)
    camera = camera or _DEFAULT
    # Here: the preparation of labels imports the data set, which imports this.
    from mmopt.datasets.bev.prepare.tables import find_version, iter_records

    folder = root / find_version(root, version)
    channels = dict(iter_records(folder / 'sensor.json', ('token', 'channel')))
    known = sorted(name for name in channels.values() if name.startswith('CAM'))
    if camera not in known:
        raise UserError(f'--camera {camera}: {folder} has {", ".join(known)}.')
    of_sensors = iter_records(folder / 'calibrated_sensor.json', ('token', 'sensor_token', 'camera_intrinsic'))
    matrices = {
        token: np.array(matrix, np.float64) for token, sensor, matrix in of_sensors if channels.get(sensor) == camera
    }
    columns = ('token', 'calibrated_sensor_token', 'filename', 'is_key_frame', 'width', 'height')
    frames = [
        CameraFrame(token, root / file, (height, width), matrices[sensor])
        for token, sensor, file, is_key_frame, width, height in iter_records(folder / 'sample_data.json', columns)
        if is_key_frame and sensor in matrices
    ]
    if not frames:
        raise DataError(f'{folder}/sample_data.json: no key frame of {camera}.')
    return frames


def _of_keyframe(folder: Path, camera: str | None) -> list[CameraFrame]:
    path = folder / _KEYFRAME
    try:
        cameras = json.loads(path.read_text(encoding='utf-8'))['cameras']
        frames = {
            name: CameraFrame(
                name, folder / one['file'], (one['height'], one['width']), np.array(one['cam2img'], np.float64)
            )
            for name, one in cameras.items()
        }
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: not readable as JSON: {error}.') from error
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f'{path}: each camera needs file, width, height and cam2img ({error}).') from error
    if camera is not None and camera not in frames:
        raise UserError(f'--camera {camera}: {path} has {", ".join(frames)}.')
    return [frame for name, frame in frames.items() if camera in (None, name)]
