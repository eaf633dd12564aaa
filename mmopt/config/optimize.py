"""The `optimize` section: what makes a run faster or smaller without changing its results; the same in both dialects.

The list of keys is closed: a key is here only if the engine has its implementation (`mmopt.engine.switches`).
"""

from collections.abc import Mapping
from typing import Any

from mmopt.config.precision import with_precision
from mmopt.config.schema import ConfigError, check_keys, did_you_mean

__all__ = ['check_optimize', 'check_optimize_name', 'merge_optimize']


def check_optimize(optimize: Mapping[str, Any] | None) -> None:
    """Refuse unknown keys and values of the wrong kind.

    Args:
        optimize: The section; None where a config has none.

    Raises:
        ConfigError: With the key, the nearest known one or what the key takes.
    """
    if optimize is None:
        return
    check_keys('optimize', optimize)


def check_optimize_name(names: Mapping[str, Any]) -> None:
    """Refuse a top-level name that is a slip of ``optimize``: it would be taken for a variable and do nothing.

    Args:
        names: A config, of which only the keys matter.

    Raises:
        ConfigError: With the name.
    """
    for name in names:
        if name != 'optimize' and not str(name).startswith('optimizer') and did_you_mean(str(name), ['optimize'], 0.85):
            raise ConfigError(f'{name} is unknown; did you mean optimize?')


def merge_optimize(lowered: dict[str, Any]) -> None:
    """Put what concerns other sections there, and take it out of `optimize`: later flags then win.

    ``precision`` replaces the optimizer wrapper's; ``max_workers`` is a limit, a loader with fewer keeps its number.

    Args:
        lowered: A lowered config; is changed.
    """
    if not lowered.get('optimize'):
        return
    optimize = lowered['optimize'] = dict(lowered['optimize'])
    precision, limit = optimize.pop('precision', None), optimize.pop('max_workers', None)
    if precision is not None and lowered.get('optim_wrapper'):
        lowered['optim_wrapper'] = with_precision(lowered['optim_wrapper'], precision)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = lowered.get(name)
        if limit is not None and loader and (loader.get('num_workers') or 0) > limit:
            lowered[name] = dict(loader, num_workers=limit)
            if limit == 0:  # without workers torch refuses both
                lowered[name].pop('prefetch_factor', None)
                lowered[name]['persistent_workers'] = False
