"""One sample as bytes and back: plain values as JSON, arrays beside them, nothing that could run code.

A record is ``json length, start of the arrays`` (two uint64), the JSON, and the arrays, each aligned to 64 bytes.
Arrays lose nothing and take little: flags are packed eight to a byte, whole numbers are stored in the narrowest type
that holds them (a 16-bit label map in an int64 array takes a quarter).
"""

import json
import struct
from typing import Any

import numpy as np
import torch

__all__ = ['NotStorableError', 'decode', 'encode']

_ALIGN = 64
_HEADER = struct.Struct('<QQ')
# Below this, finding the range costs more than it saves.
_MIN_NARROW_BYTES = 1024
_NARROW = (np.uint8, np.uint16, np.uint32)
_PLAIN = (bool, int, float, str, type(None))


class NotStorableError(TypeError):
    """A value is neither plain nor an array; the message names its key and type."""


def encode(values: dict[str, Any]) -> bytes:
    """Turn a dict into a record.

    Args:
        values: Arrays, tensors, numbers, texts, None, and lists, tuples and dicts of them.

    Returns:
        The record.

    Raises:
        NotStorableError: If something is of another kind.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps({key: _pack(value, str(key), arrays) for key, value in values.items()}, separators=(',', ':'))
    start = _aligned(_HEADER.size + len(text.encode()))
    parts = [_HEADER.pack(len(text.encode()), start), text.encode()]
    size = _HEADER.size + len(text.encode())
    for array in arrays:
        parts.append(bytes(_aligned(size) - size))
        parts.append(array.tobytes())
        size = _aligned(size) + array.nbytes
    return b''.join(parts)


def decode(record: np.ndarray) -> dict[str, Any]:
    """Turn a record back; arrays are the caller's own copies.

    Args:
        record: The bytes, uint8, e.g. a slice of a memory map.

    Returns:
        The dict, equal to what was encoded.
    """
    length, start = _HEADER.unpack(record[: _HEADER.size].tobytes())
    tree = json.loads(record[_HEADER.size : _HEADER.size + length].tobytes())
    reader = _Reader(record, start)
    return {key: reader.unpack(value) for key, value in tree.items()}


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _pack(value: Any, place: str, arrays: list[np.ndarray]) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        if value.device.type != 'cpu' or value.dtype is torch.bfloat16 or value.requires_grad:
            raise NotStorableError(f'{place} is a {value.dtype} tensor on {value.device}')
        return dict(t=_pack_array(value.numpy(), place, arrays))
    if isinstance(value, np.ndarray):
        return dict(a=_pack_array(value, place, arrays))
    if isinstance(value, np.generic):
        return dict(s=[value.dtype.str, value.item()]) if value.dtype.kind in 'biuf' else _refuse(value, place)
    if type(value) is list:
        return [_pack(item, f'{place}[{index}]', arrays) for index, item in enumerate(value)]
    if type(value) is tuple:
        return dict(u=[_pack(item, f'{place}[{index}]', arrays) for index, item in enumerate(value)])
    if type(value) is dict:
        return dict(
            d=[[_pack(key, place, arrays), _pack(item, f'{place}.{key}', arrays)] for key, item in value.items()]
        )
    return _refuse(value, place)


def _refuse(value: Any, place: str) -> Any:
    raise NotStorableError(f'{place} is a {type(value).__name__}')


def _pack_array(array: np.ndarray, place: str, arrays: list[np.ndarray]) -> list:
    """Append what is stored to ``arrays`` and return ``[type, shape, stored type, how many bytes]``."""
    if array.dtype.kind not in 'biufc':
        _refuse(array.dtype, place)
    stored = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        stored = np.packbits(stored.reshape(-1))
    elif array.dtype.kind in 'iu' and array.nbytes >= _MIN_NARROW_BYTES:
        low, high = int(array.min()), int(array.max())
        fits = next((t for t in _NARROW if low >= 0 and high <= np.iinfo(t).max), array.dtype)
        if np.dtype(fits).itemsize < array.dtype.itemsize:
            stored = stored.astype(fits)
    arrays.append(stored)
    return [array.dtype.str, list(array.shape), stored.dtype.str, stored.nbytes]


class _Reader:
    """Walk the JSON of a record; arrays lie in the order in which it names them."""

    def __init__(self, record: np.ndarray, start: int) -> None:
        self.record = record
        self.position = start

    def unpack(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.unpack(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == 'a':
            return self._array(*content)
        if kind == 't':
            return torch.from_numpy(self._array(*content))
        if kind == 's':
            return np.dtype(content[0]).type(content[1])
        if kind == 'u':
            return tuple(self.unpack(item) for item in content)
        return {self.unpack(key): self.unpack(item) for key, item in content}

    def _array(self, dtype: str, shape: list[int], stored: str, num_bytes: int) -> np.ndarray:
        start = _aligned(self.position)
        self.position = start + num_bytes
        flat = self.record[start : self.position].view(stored)
        if stored == dtype:
            return flat.reshape(shape).copy()
        if np.dtype(dtype) == np.bool_:
            return np.unpackbits(flat, count=int(np.prod(shape, dtype=np.int64))).reshape(shape).view(np.bool_)
        return flat.reshape(shape).astype(dtype)
