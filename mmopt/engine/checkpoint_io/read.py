"""Reading: checksum first, then ``weights_only=True`` with the few harmless types that older checkpoints hold."""

import json
import pickle
import re
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmopt.engine.checkpoint_io.folder import describe_missing
from mmopt.engine.checkpoint_io.formats import normalize
from mmopt.engine.checkpoint_io.plain import PlainHistory
from mmopt.engine.checkpoint_io.tensor_file import read_tensor_file
from mmopt.engine.checkpoint_io.verify import CorruptCheckpointError, verify
from mmopt.utils.errors import UserError

__all__ = ['UnsafeCheckpointError', 'allow_harmless_types', 'load']

_UNSAFE = re.compile(r"GLOBAL (\S+)|unrecognized function (.+?)(?: which|\n|$)|but got <class '(.+?)'>")
# A Path has made one slash of the two.
_URL = re.compile(r'(https?):/+(.+)')
_BROKEN = (
    RuntimeError,
    EOFError,
    OSError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    UnicodeDecodeError,
)


class UnsafeCheckpointError(UserError):
    """A checkpoint holds Python objects whose loading could run any code."""


def _numpy_scalar(dtype: np.dtype, content: Any = None) -> Any:
    """Rebuild a NumPy scalar; objects, which a crafted file could fill with anything, are refused."""
    if dtype.hasobject:
        raise pickle.UnpicklingError(f'GLOBAL numpy.dtype({dtype})')
    return np.frombuffer(content, dtype)[0] if isinstance(content, bytes) else np.array(content, dtype)[()]


def _numpy_array(array_type: type, shape: tuple, _kind: bytes) -> np.ndarray:
    """Make the empty array that ``ndarray.__setstate__`` then fills."""
    if array_type is not np.ndarray:
        raise pickle.UnpicklingError(f'GLOBAL {array_type}')
    return np.ndarray(shape, np.uint8)


def _method_of_history(owner: type, name: str) -> str:
    """Stand in for ``getattr``, by which MMEngine's history buffers pickle their own methods; gives the name only."""
    if owner is not PlainHistory:
        raise pickle.UnpicklingError(f'GLOBAL getattr({owner}, {name!r})')
    return name


_DTYPES = [getattr(np.dtypes, name) for name in np.dtypes.__all__ if name not in ('ObjectDType', 'VoidDType')]
_SAFE_TYPES = [
    *((_numpy_scalar, f'numpy.{core}.multiarray.scalar') for core in ('core', '_core')),
    *((_numpy_array, f'numpy.{core}.multiarray._reconstruct') for core in ('core', '_core')),
    np.ndarray,
    np.dtype,
    *_DTYPES,
    PlainHistory,
    (_method_of_history, 'builtins.getattr'),
    (PlainHistory, 'mmengine.logging.history_buffer.HistoryBuffer'),
    # An OrderedDict has an instance dict, into which the pickle of a ConfigDict is poured.
    (OrderedDict, 'mmcv.utils.config.ConfigDict'),
    (OrderedDict, 'mmengine.config.config.ConfigDict'),
    (OrderedDict, 'addict.addict.Dict'),
]


def allow_harmless_types() -> None:
    """Let every ``torch.load`` of this process take the harmless types of older checkpoints; nothing else is allowed.

    For code of others that reads weights itself.
    """
    torch.serialization.add_safe_globals(_SAFE_TYPES)


def load(path: Path | str, map_location: Any = 'cpu', allow_pickle: bool = False, *, for_resume: bool = False) -> dict:
    """Read a checkpoint of mmopt, MMEngine or mmcv 1.x, or a file of weights.

    Args:
        path: The file, or an ``http(s)`` address, which is downloaded once into torch hub's folder.
        map_location: As for :func:`torch.load`.
        allow_pickle: Also unpickle arbitrary Python objects, which runs whatever code the file names.
        for_resume: Whether a run is to continue from it, which asks for averaged weights the other way round than
            mmcv 1.x may have them; see :func:`mmopt.engine.checkpoint_io.normalize`.

    Returns:
        The content in one form for all origins; see :func:`mmopt.engine.checkpoint_io.normalize`.

    Raises:
        CorruptCheckpointError: If the file is cut off or damaged.
        UnsafeCheckpointError: If it holds objects that ``allow_pickle`` would be needed for.
        UserError: If there is no such file, or it holds no checkpoint.
    """
    url = _URL.match(str(path))
    path = download(f'{url[1]}://{url[2]}') if url else Path(path)
    if not path.is_file():
        raise UserError(describe_missing(path))
    verify(path)
    return normalize(_read(path, map_location, allow_pickle), path, for_resume=for_resume)


def download(url: str) -> Path:
    """Return the local copy of a checkpoint on the web, downloading it the first time.

    Args:
        url: Its address.

    Returns:
        The file in torch hub's folder.

    Raises:
        UserError: If it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir(), 'checkpoints', url.rsplit('/', 1)[-1])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f'{url}: cannot be downloaded ({error}). Download it by other means and give the path of the file, or '
                f'put it at {path}.'
            ) from error
    return path


def _read(path: Path, map_location: Any, allow_pickle: bool) -> Any:
    if path.suffix == '.safetensors':
        try:
            tensors, texts = read_tensor_file(path)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise CorruptCheckpointError(
                f'{path}: cannot be read as safetensors, so it is cut off or damaged ({error}).'
            ) from error
        meta = json.loads(texts['meta']) if 'meta' in texts else {}
        device = map_location if isinstance(map_location, str | torch.device) else 'cpu'
        return dict(meta=meta, state_dict={name: tensor.to(device) for name, tensor in tensors.items()})
    try:
        if allow_pickle:
            return torch.load(path, map_location=map_location, weights_only=False)
        # Leaving the context takes back all that it names, what others have allowed before, too.
        new = [item for item in _SAFE_TYPES if item not in torch.serialization.get_safe_globals()]
        with torch.serialization.safe_globals(new):
            return torch.load(path, map_location=map_location, weights_only=True)
    except (ImportError, *_BROKEN) as error:
        unsafe = _UNSAFE.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and unsafe and not allow_pickle:
            name = next(group for group in unsafe.groups() if group)
            raise UnsafeCheckpointError(
                f'{path}: holds a Python object of type {name}, and loading such objects can run any code. If you '
                'trust where the file comes from, say --allow-pickle.'
            ) from error
        if isinstance(error, ImportError):
            raise UserError(f'{path}: its objects need a package that is not installed: {error}.') from error
        if 'CUDA' in str(error):
            raise  # a device that is not there, not a broken file
        raise CorruptCheckpointError(
            f'{path}: cannot be read, so it is cut off, damaged or no checkpoint ({_first_line(error)}). '
            'Use an earlier checkpoint, or copy the file again.'
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:150] if text else type(error).__name__
