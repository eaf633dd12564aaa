"""A text that changes whenever what a pipeline makes of a data set may change: the key of a cache."""

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import cv2
import numpy as np
import torch

import mmopt
from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['digest_of', 'digest_of_samples', 'digests_of_prefixes']

_MAX_DEPTH = 12


def digest_of(value: Any) -> str:
    """Return a hash of a value's content: the same in every process, whatever the addresses and the hash seed.

    Args:
        value: Plain values, arrays, tensors, paths, functions, and objects that hold such; of objects, what they would
            pickle counts.

    Returns:
        32 hexadecimal digits.

    Raises:
        UserError: If it holds something whose content cannot be told.
    """
    hasher = hashlib.blake2b(digest_size=16)
    _feed(hasher.update, value, 0)
    return hasher.hexdigest()


def _feed(update: Callable[[bytes], None], value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise UserError(
            f'{spelled("train_dataloader.cache")}: a {type(value).__name__} is nested more than {_MAX_DEPTH} deep, '
            'so no key can be made of it. '
            f'Drop {spelled("train_dataloader.cache")}, or give the class a __getstate__ with plain values.'
        )
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        update(f'<array {value.dtype.str} {value.shape}>'.encode())
        update(np.ascontiguousarray(value).tobytes())
    elif value is None or isinstance(value, str | bytes | bool | int | float | complex | np.generic | Path | np.dtype):
        update(f'<{type(value).__name__} {value!r}>'.encode())
    elif isinstance(value, Mapping):
        update(f'<dict {len(value)}>'.encode())
        for key in sorted(value, key=repr):
            _feed(update, key, depth + 1)
            _feed(update, value[key], depth + 1)
    elif isinstance(value, set | frozenset):
        _feed(update, sorted(digest_of(item) for item in value), depth + 1)
    elif isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.dtype == object):
        update(f'<{type(value).__name__} {len(value)}>'.encode())
        for item in value:
            _feed(update, item, depth + 1)
    elif isinstance(value, type | ModuleType):
        update(f'<{value.__module__ if isinstance(value, type) else ""}.{value.__name__}>'.encode())
    elif isinstance(value, FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        update(f'<function {value.__module__}.{value.__qualname__}>'.encode() + value.__code__.co_code)
        _feed(update, [value.__defaults__, closure], depth + 1)
    elif isinstance(value, MethodType):
        _feed(update, [value.__func__, value.__self__], depth + 1)
    else:
        _feed_object(update, value, depth)


def _feed_object(update: Callable[[bytes], None], value: Any, depth: int) -> None:
    state = value.__getstate__() if hasattr(value, '__getstate__') else getattr(value, '__dict__', None)
    if state is None and not callable(value) and not hasattr(type(value), '__slots__'):
        raise UserError(
            f'{spelled("train_dataloader.cache")}: a {type(value).__module__}.{type(value).__qualname__} says '
            'nothing of its content, so no key '
            f'can be made of it. Drop {spelled("train_dataloader.cache")}, or give the class a __getstate__ with '
            'plain values.'
        )
    update(f'<object {type(value).__module__}.{type(value).__qualname__}>'.encode())
    _feed(update, state, depth + 1)


def digests_of_prefixes(transforms: Sequence[Callable]) -> list[str]:
    """Return the digest of the first transform, of the first two, and so on.

    Settings count, and the source of the modules the transforms are from, so that a changed transform is not taken for
    the old one; and the versions of mmopt, OpenCV and NumPy.
    """
    hasher = hashlib.blake2b(f'{mmopt.__version__} {cv2.__version__} {np.__version__}'.encode(), digest_size=16)
    digests = []
    for transform in transforms:
        owner = transform if isinstance(transform, FunctionType) else type(transform)
        source = getattr(sys.modules.get(owner.__module__), '__file__', None)
        if source and Path(source).is_file():
            hasher.update(Path(source).read_bytes())
        hasher.update(digest_of(transform).encode())
        digests.append(hasher.hexdigest())
    return digests


def digest_of_samples(records: Sequence[dict]) -> str:
    """Return a hash of what the pipeline starts from, and of size and time of every file that is named there.

    Args:
        records: What the data set says of each sample, in order. A text under a key with ``path`` or ``file`` in its
            name, and a list of such texts, names files.

    Returns:
        32 hexadecimal digits.
    """
    hasher = hashlib.blake2b(digest_size=16)
    stamps: dict[str, str] = {}
    for record in records:
        _feed(hasher.update, record, 0)
        for key, value in record.items():
            if 'path' not in str(key) and 'file' not in str(key):
                continue
            for name in value if isinstance(value, list | tuple) else [value]:
                if isinstance(name, str | os.PathLike):
                    name = os.fspath(name)
                    if name not in stamps:
                        stamps[name] = _stamp(name)
                    hasher.update(stamps[name].encode())
    return hasher.hexdigest()


def _stamp(path: str) -> str:
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return 'none'  # the loader will say which file is missing
    return f'{state.st_size} {state.st_mtime_ns}'
