"""Distance maps on disk: made once per label, whatever file, run or epoch it comes from.

A file ``<hash of the label>.dist`` is a header (magic, height, width, largest distance) and the raw map: a crop reads
no more pages of it than it covers. Files are written beside and renamed, so that a killed process leaves none half
written; one of the wrong length or with another header is made anew.
"""

import hashlib
import os
import struct
import tempfile
from pathlib import Path

import numpy as np

from mmopt.datasets.segmentation.borders import NO_BORDER, border_distance
from mmopt.utils.errors import UserError

__all__ = ['distance_map', 'label_key', 'largest_distance']

# The last byte counts versions of the map's definition.
_MAGIC = b'mmdist\x00\x01'
_HEADER = struct.Struct('<8sIII')


def label_key(label_HW: np.ndarray) -> str:
    """Return a hash of the classes and the shape of a label."""
    # In hardware on today's CPUs: five times as fast as blake2b.
    hasher = hashlib.sha1(np.ascontiguousarray(label_HW).data, usedforsecurity=False)
    hasher.update(repr((label_HW.shape, label_HW.dtype.str)).encode())
    return hasher.hexdigest()


def largest_distance(distance_HW: np.ndarray) -> int:
    """Return the largest distance of an image, 0 where it has no border."""
    largest = int(distance_HW.max())
    return 0 if largest == NO_BORDER else largest


def distance_map(label_HW: np.ndarray, folder: str | os.PathLike | None) -> tuple[np.ndarray, int]:
    """Return the distance map of a label, from the cache where it is there.

    Args:
        label_HW: Classes, of :func:`~mmopt.structures.pixel_labels.label_type`.
        folder: The cache; made if need be. None computes the map.

    Returns:
        The map (:func:`~mmopt.datasets.segmentation.borders.border_distance`), read-only where it comes from a file,
        and its largest distance.

    Raises:
        UserError: If the folder cannot be written to or the disk is full.
    """
    if folder is None:
        distance_HW = border_distance(label_HW)
        return distance_HW, largest_distance(distance_HW)
    path = Path(folder, f'{label_key(label_HW)}.dist')
    found = _read(path, label_HW.shape)
    if found is not None:
        return found
    distance_HW = border_distance(label_HW)
    largest = largest_distance(distance_HW)
    _write(path, distance_HW, largest)
    return distance_HW, largest


def _read(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, int] | None:
    try:
        with path.open('rb') as file:
            header = file.read(_HEADER.size)
            size = os.fstat(file.fileno()).st_size
            if size != _HEADER.size + 2 * shape[0] * shape[1]:
                return None
            magic, height, width, largest = _HEADER.unpack(header)
            if magic != _MAGIC or (height, width) != tuple(shape):
                return None
            return np.asarray(np.memmap(file, np.uint16, 'r', _HEADER.size, shape)), largest
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); set cache_dir of LoadBorderDistance.') from error


def _write(path: Path, distance_HW: np.ndarray, largest: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix='.partial')
        try:
            with os.fdopen(descriptor, 'wb') as file:
                file.write(_HEADER.pack(_MAGIC, *distance_HW.shape, largest))
                file.write(np.ascontiguousarray(distance_HW).data)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise UserError(
            f'{path.parent}: a distance map cannot be written ({error.strerror}). It takes 2 bytes per pixel of every '
            'label. Set cache_dir of LoadBorderDistance to a folder of yours with enough space, or to None.'
        ) from error
