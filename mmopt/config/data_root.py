"""Put another data root into every data set of a config."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmopt.config.schema import ConfigError

__all__ = ['replace_data_root']

_SPLITS = ('train', 'val', 'test')


def replace_data_root(cfg: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Set the data root of the training, validation and test sets, inside wrappers and lists too.

    A data set's ``data_root`` is replaced, and so is the old root at the beginning of any other path of the data set
    (``ann_file = data_root + 'train.json'``).

    Args:
        cfg: A config of either dialect; it is not changed.

    Returns:
        A new config.

    Raises:
        ConfigError: If no data set has a root to replace.
    """
    replaced = copy.deepcopy(dict(cfg))
    top_level_root = cfg.get('data_root')
    num_replaced = 0
    for dataset in _leaves(replaced):
        old_roots = [old for old in (dataset.get('data_root'), top_level_root) if isinstance(old, str) and old]
        num_replaced += _replace_paths(dataset, old_roots, root)
        if 'data_root' in dataset:
            dataset['data_root'] = root
            num_replaced += 1
    if not num_replaced:
        raise ConfigError(
            f'data.data_root={root!r} had no effect: no data set in train, val or test has a data_root, or a path that '
            "begins with the config's data_root. Set the paths one by one, e.g. data.train.ann_file=..."
        )
    if 'data_root' in replaced:
        replaced['data_root'] = root
    return replaced


def _leaves(cfg: dict) -> Iterator[dict]:
    roots: list[Any] = []
    if isinstance(cfg.get('data'), dict):
        roots += [cfg['data'].get(split) for split in _SPLITS]
    for split in _SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, dict):
            roots.append(loader.get('dataset'))
    while roots:
        part = roots.pop()
        if isinstance(part, list | tuple):
            roots += part
        elif isinstance(part, dict):
            inner = [part[key] for key in ('dataset', 'datasets') if key in part]
            roots += inner
            if not inner:
                yield part


def _replace_paths(part: Any, old_roots: list[str], root: str) -> int:
    """Replace in place; return the number of replaced paths."""
    if not isinstance(part, dict | list):
        return 0
    count = 0
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if key == 'data_root' or key == 'type':
            continue
        if isinstance(value, tuple):
            value = part[key] = list(value)
        if isinstance(value, dict | list):
            count += _replace_paths(value, old_roots, root)
        elif isinstance(value, str):
            new = _new_path(value, old_roots, root)
            count += new != value
            part[key] = new
    return count


def _new_path(path: str, old_roots: list[str], root: str) -> str:
    for old in old_roots:
        stem = old.rstrip('/')
        if stem and (path == stem or path.startswith(f'{stem}/')):
            return root.rstrip('/') + path[len(stem) :]
    return path
