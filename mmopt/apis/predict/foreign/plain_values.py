"""Data samples of MMEngine as plain values for json: nested elements, tensors, arrays, masks.

Shape letters: N masks, H W picture.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

__all__ = ['large_arrays', 'plain_sample', 'to_array']

_MAX_VALUES = 10_000
"""An array of more is no list in the json: a picture of a megapixel would be one of 20 MB."""
_NO_PREDICTION = ('gt_', 'ignored_')


def to_array(value: Any) -> np.ndarray:
    """Return a tensor, array, boxes or masks of a library, or a number, as an array."""
    if hasattr(value, 'to_ndarray'):  # masks
        return value.to_ndarray()
    value = getattr(value, 'tensor', value)  # boxes
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() and value.element_size() < 4 else value).numpy()
    return np.asarray(value)


def plain_sample(sample: Any) -> Any:
    """Return a predicted sample as plain values.

    Args:
        sample: A data sample, or what else a model gives.

    Returns:
        Its fields by name, without those of labels, and its ``metainfo`` without the path. Boolean masks (N, H, W) are
        run lengths as in COCO; of other arrays with more than 10 000 values there are shape and type.
    """
    if not isinstance(sample, BaseDataElement):
        return _plain(sample)
    facts = {key: _plain(value) for key, value in sample.metainfo_items() if key not in ('img_path', 'img_id')}
    return {key: _plain(value) for key, value in _fields(sample)} | dict(metainfo=facts)


def large_arrays(sample: Any) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`plain_sample` leaves out, by their dotted place."""
    return dict(_large('', sample))


def _fields(element: BaseDataElement) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in element.items() if not key.startswith(_NO_PREDICTION))


def _large(place: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, BaseDataElement | Mapping):
        for key, item in _fields(value) if isinstance(value, BaseDataElement) else value.items():
            yield from _large(f'{place}.{key}' if place else str(key), item)
    elif _is_array(value):
        array = to_array(value)
        if array.size > _MAX_VALUES and not _are_masks(array):
            yield place, array


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) or hasattr(value, 'to_ndarray') or hasattr(value, 'tensor')


def _are_masks(array: np.ndarray) -> bool:
    return array.dtype == bool and array.ndim == 3


def _plain(value: Any) -> Any:
    if isinstance(value, BaseDataElement):
        return {key: _plain(item) for key, item in _fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # json knows neither NaN nor infinity
    if value is None or isinstance(value, bool | int | str):
        return value
    if not _is_array(value):
        return f'<{type(value).__name__}>'
    array = to_array(value)
    if _are_masks(array):
        return [_run_lengths(mask) for mask in array]
    if array.size > _MAX_VALUES:
        return dict(shape=list(array.shape), dtype=str(array.dtype))
    is_clean = array.dtype.kind in 'biu' or (array.dtype.kind == 'f' and np.isfinite(array).all())
    return array.tolist() if is_clean else _plain(array.tolist())


def _run_lengths(mask_HW: np.ndarray) -> dict[str, Any]:
    """Return COCO's uncompressed run lengths: of zeros, ones, zeros, ... down the columns."""
    pixels = mask_HW.ravel(order='F')
    starts = np.flatnonzero(np.diff(pixels)) + 1
    edges = np.concatenate([[0], starts, [pixels.size]])
    counts = np.diff(edges).tolist()
    return dict(size=list(mask_HW.shape), counts=[0, *counts] if pixels.size and pixels[0] else counts)
