"""The camera matrix of a picture: said by the user, from a calib.json, from nuScenes' tables or a key frame."""

import json
import logging
import re
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.bev.predict.tables import CameraFrame, camera_frames, find_root
from mmopt.utils.errors import DataError, UserError

__all__ = ['OPTIONS', 'Cameras']

_LOGGER = logging.getLogger('mmopt.predict')
OPTIONS = dict(
    intrinsics='camera matrix of the pictures: fx,fy,cx,cy in pixels',
    intrinsics_size='size of the picture that the matrix is of: 1600x900; default: the size of each picture',
    calib='camera matrices by name of the picture: {"name": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]}',
    camera='camera of nuScenes or of a key frame; default: CAM_FRONT, all of a key frame',
    version="folder of nuScenes' tables, where there are several: v1.0-mini",
)
"""What the user can say of pictures."""
_CALIB = 'calib.json'
_LEVELS = 4
"""Folders above a picture in which a calib.json is looked for: img_dir/val/name.jpg has it two above."""
_MAX_ASPECT = 0.01
_OFF_CENTER = 0.15


class Cameras:
    """Find the camera matrix of every picture.

    Args:
        options: What the user said; see :data:`OPTIONS`.

    Raises:
        UserError: If an option does not serve.
        DataNotFoundError: If a file that it names is not there.
        DataError: If that file cannot be read.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options.get('intrinsics') is not None and options.get('calib') is not None:
            raise UserError('--intrinsics and --calib exclude each other.')
        self.camera: str | None = options.get('camera')
        self.version = options.get('version')
        self._said_33 = _parse_matrix(options.get('intrinsics'))
        self._size = _parse_size(options.get('intrinsics_size'))
        self._calib = None if options.get('calib') is None else Path(options['calib'])
        if self._calib is not None:
            _read_calib(self._calib, _changed(self._calib))
        self._warned = False
        self._lock = threading.Lock()
        self._known: dict[Path, dict[str, CameraFrame]] = {}

    def matrix(self, path: str, size: tuple[int, int]) -> np.ndarray:
        """Return the camera matrix of a picture, scaled to its size.

        Args:
            path: The file; empty where there is none.
            size: Height and width of the picture.

        Returns:
            float32 (3, 3).

        Raises:
            UserError: If nothing says it.
            DataError: If what says it does not know this picture, or the matrix is not of it.
        """
        matrix_33, of_size, source = self._find(path)
        of_height, of_width = self._size or of_size or size
        height, width = size
        scale = np.array([width / of_width, height / of_height, 1.0])
        named = path or 'the picture'
        if abs(scale[0] / scale[1] - 1) > _MAX_ASPECT:
            raise DataError(
                f'{named}: the picture is {width}x{height}, its camera matrix is of {of_width}x{of_height}: it was not '
                'scaled but cut or turned, so that the matrix is that of another picture.'
            )
        scaled_33 = matrix_33 * scale[:, None]
        center = scaled_33[0, 2] / width, scaled_33[1, 2] / height
        if not (0 < center[0] < 1 and 0 < center[1] < 1):
            raise DataError(
                f'{named}: the principal point of its camera matrix ({source}) is ({scaled_33[0, 2]:g}, '
                f'{scaled_33[1, 2]:g}), outside of the picture of {width}x{height}. Say of which size the matrix is: '
                '--intrinsics-size WIDTHxHEIGHT.'
            )
        if max(abs(value - 0.5) for value in center) > _OFF_CENTER and not self._warned:
            self._warned = True
            _LOGGER.warning(
                f'{named}: the principal point of its camera matrix ({source}) is ({scaled_33[0, 2]:g}, '
                f'{scaled_33[1, 2]:g}), far from the middle of {width}x{height}: a matrix of another size needs '
                '--intrinsics-size WIDTHxHEIGHT.'
            )
        return scaled_33.astype(np.float32)

    def _find(self, path: str) -> tuple[np.ndarray, tuple[int, int] | None, str]:
        """Return matrix, the height and width that it is of, and what says it."""
        if self._said_33 is not None:
            return self._said_33, None, '--intrinsics'
        if self._calib is not None:
            return self._from_calib(self._calib, path), None, str(self._calib)
        if path:
            beside = self._beside(Path(path))
            if beside is not None:
                return self._from_calib(beside, path), None, str(beside)
            root = find_root(Path(path), _LEVELS)
            if root is not None:
                frame = self._frames(root).get(str(Path(path).resolve()))
                if frame is None:
                    raise DataError(f'{path}: not a key frame of {self.camera or "CAM_FRONT"} in the tables of {root}.')
                return frame.intrinsics_33, frame.size, str(root)
        raise UserError(
            f'{path or "A picture without a file"}: nothing says its camera matrix. Say --intrinsics fx,fy,cx,cy, or '
            f'put a {_CALIB} beside the pictures or name one with --calib.'
        )

    def frames(self, root: Path) -> list[CameraFrame]:
        """Return the key frames of the camera in nuScenes' tables, in their order."""
        return list(self._frames(root).values())

    def _frames(self, root: Path) -> dict[str, CameraFrame]:
        with self._lock:  # tables are large, and pictures are read in several threads
            if root not in self._known:
                found = camera_frames(root, self.version, self.camera)
                self._known[root] = {str(frame.path.resolve()): frame for frame in found}
            return self._known[root]

    def _beside(self, path: Path) -> Path | None:
        for folder in list(path.resolve().parents)[:_LEVELS]:
            if (folder / _CALIB).is_file():
                return folder / _CALIB
        return None

    def _from_calib(self, calib: Path, path: str) -> np.ndarray:
        known = _read_calib(calib, _changed(calib))
        for key in (Path(path).stem, Path(path).name, path):
            if key in known:
                return _as_matrix(known[key], f'{calib}: {key}')
        raise DataError(f'{path or "a picture without a name"}: {calib} has no camera matrix of it.')


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f'--calib {path}: there is no such file.') from error


@cache
def _read_calib(path: Path, changed_ns: int) -> Mapping[str, Any]:
    del changed_ns  # a changed file is read again
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: not readable as JSON: {error}.') from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: must map names of pictures to 3x3 matrices, is a {type(content).__name__}.')
    return content


def _as_matrix(rows: Any, place: str) -> np.ndarray:
    try:
        matrix = np.array(rows, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise DataError(f'{place} must have a 3x3 matrix of focal lengths > 0, has {rows}.')
    return matrix


def _parse_matrix(given: Any) -> np.ndarray | None:
    if given is None:
        return None
    rule = '--intrinsics must be fx,fy,cx,cy in pixels, with fx and fy more than 0'
    try:
        numbers = [float(part) for part in given.split(',')] if isinstance(given, str) else given
        values = np.array(numbers, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f'{rule}; got {given!r}.') from error
    if values.shape == (3, 3):
        values = values[[0, 1, 0, 1], [0, 1, 2, 2]]
    if values.shape != (4,) or not np.isfinite(values).all() or values[:2].min() <= 0:
        raise UserError(f'{rule}; got {given!r}.')
    fx, fy, cx, cy = values
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _parse_size(given: Any) -> tuple[int, int] | None:
    """Return height and width of ``1600x900``, or of (width, height)."""
    if given is None:
        return None
    match = re.fullmatch(r'(\d+)\s*[x,]\s*(\d+)', given.strip()) if isinstance(given, str) else None
    width, height = (int(match[1]), int(match[2])) if match else (0, 0) if isinstance(given, str) else given
    if min(width, height) < 1:
        raise UserError(f'--intrinsics-size must be WIDTHxHEIGHT, such as 1600x900; got {given!r}.')
    return int(height), int(width)
