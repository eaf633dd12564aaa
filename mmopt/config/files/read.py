"""A config file and its bases, read to one dict.

MMCV 1.x runs a file as Python and looks at its variables afterwards: it may import, compute its ``_base_`` and use
functions. MMEngine reads ``_base_`` before it runs the file, so that the file can use ``_base_.x``, and takes a file
without ``_base_`` that imports something outside the standard library for one of its lazy configs, in which imported
names are texts. Here a file runs as in MMCV 1.x and may use ``_base_.x`` as well; lazy configs, which say
``with read_base():`` or have MMEngine's sections, are read by MMEngine.
"""

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.config import BASE_KEY, DEPRECATION_KEY, RESERVED_KEYS
from mmengine.fileio import load

from mmopt.config.files.lazy import check_circle, is_lazy, is_read_base, read_lazy
from mmopt.config.files.run import Edits, run_file
from mmopt.config.files.text import nodes, substituted, with_base_values
from mmopt.config.schema import ConfigError
from mmopt.utils.shipped import shipped_folder

__all__ = ['read_file']

_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def read_file(path: str | Path, edits: Edits | None = None) -> dict[str, Any]:
    """Read a config file with its bases; its ``custom_imports`` are left to the caller.

    Args:
        path: A file that exists.
        edits: See :data:`Edits`; without effect on lazy configs.

    Returns:
        A plain dict of plain values.

    Raises:
        ConfigError: If the file or one of its bases is missing, cannot be run or read, or leads back to itself; the
            message names file and line.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f'{path}: a config is a file with one of the endings {", ".join(_SUFFIXES)}.')
    if is_lazy(path):
        return read_lazy(path)
    cfg = _read(path, (), edits or {})
    for key in RESERVED_KEYS:
        if key in cfg:
            raise ConfigError(f'{path}: the variable {key} has a name that MMEngine keeps for itself: rename it.')
    return Config._dict_to_config_dict(cfg).to_dict()


def _read(path: Path, chain: tuple[Path, ...], edits: Edits) -> dict[str, Any]:
    """Read one file and its bases.

    Args:
        chain: The files that led here, the first one asked for first.

    Returns:
        What the file and its bases say together.
    """
    _check_chain(path, chain)
    text, placeholders = substituted(path)

    def read_bases(names: Any) -> ConfigDict:
        return _merge_bases(_base_paths(names, path), path, (*chain, path), edits)

    if path.suffix == '.py':
        own, base = run_file(path, text, edits, read_bases)
    else:
        own = _load(path, text)
        base = read_bases(own.pop(BASE_KEY, []))
    _warn_if_deprecated(path, own)
    own = with_base_values(path, own, base, placeholders)
    try:
        return dict(Config._merge_a_into_b(own, base))
    except TypeError as error:
        key, _, rest = str(error).partition('=')
        kind = rest.rpartition('of type')[2].partition(' in base')[0].strip()
        raise ConfigError(
            f'{path}: {key} is a dict here and {kind} in its base, so they cannot be merged; write _delete_=True into '
            f'the dict to replace what the base says.'
        ) from error


def _check_chain(path: Path, chain: tuple[Path, ...]) -> None:
    if not path.is_file():
        raise ConfigError(
            f'{chain[-1]}: {os.path.relpath(path)}, named in _base_, does not exist; paths count from the file that '
            'names it.'
        )
    check_circle(path, chain)
    if path.suffix == '.py' and chain and any(map(is_read_base, nodes(path))):
        raise ConfigError(
            f'{path}: is written with read_base(), but {chain[-1]} names it in _base_; write both in one style.'
        )


def _base_paths(names: Any, path: Path) -> list[str]:
    names = list(names) if isinstance(names, list | tuple) else [names]
    for name in names:
        if not isinstance(name, str | os.PathLike):
            raise ConfigError(f'{path}: _base_ must be a path or a list of them, got {name!r}.')
    return [os.fspath(name) for name in names]


def _merge_bases(names: list[str], path: Path, chain: tuple[Path, ...], edits: Edits) -> ConfigDict:
    merged, owners = ConfigDict(), dict[str, str]()
    for name in names:
        try:
            file, scope = _find_base(name, path)
        except Exception as error:  # of a base in another package: not installed, or no such config
            raise ConfigError(
                f'{path}: _base_ {name!r}: {type(error).__name__}: {" ".join(str(error).split())}'
            ) from error
        cfg = _read(Path(os.path.normpath(file)), chain, edits)
        for key in cfg:
            if key in owners:
                raise ConfigError(
                    f'{path}: its bases {owners[key]} and {name} both set {key!r}, which MMCV 1.x refuses: keep it in '
                    'one of them.'
                )
            owners[key] = name
        merged.update(Config._dict_to_config_dict(cfg, scope))
    return merged


def _find_base(name: str, path: Path) -> tuple[str, str | None]:
    """Return where a base lies, and the scope of its types: that of another package, or None."""
    package, _, config = name.partition('::')
    if package == 'mmopt' and config:
        # Ours: found in a checkout too, and without the index of models that MMEngine looks for first.
        return str(shipped_folder('configs') / config), None
    return Config._get_cfg_path(os.path.expanduser(name), str(path))


def _load(path: Path, text: str) -> dict[str, Any]:
    try:
        loaded = load(io.StringIO(text), file_format=path.suffix[1:])
    except Exception as error:  # of json or yaml
        raise ConfigError(f'{path}: {type(error).__name__}: {" ".join(str(error).split())}') from error
    if not isinstance(loaded, dict):
        raise ConfigError(f'{path} must hold a mapping of sections, got {type(loaded).__name__}.')
    return loaded


def _warn_if_deprecated(path: Path, own: dict[str, Any]) -> None:
    notice = own.pop(DEPRECATION_KEY, None)
    if isinstance(notice, Mapping):
        expected = f' Please use {notice["expected"]} instead.' if 'expected' in notice else ''
        reference = f' More: {notice["reference"]}' if 'reference' in notice else ''
        text = f'The config file {path} will be deprecated in the future.{expected}{reference}'
        warnings.warn(text, DeprecationWarning, stacklevel=2)
