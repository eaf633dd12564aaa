"""Where a class of a repository is registered: the registries of mmcv 1.x are the repository's own, of any name."""

import importlib
from collections.abc import Iterator
from typing import Any

from mmopt.mmcv1.registry import Registry
from mmopt.mmcv1.standins.hooks import HOOKS
from mmopt.mmcv1.standins.lr_hooks import LrUpdaterHook
from mmopt.mmcv1.standins.runners import RUNNERS
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['find_build_dataset', 'find_hook', 'find_lr_hook', 'find_runner', 'not_registered', 'registry_of']


def _ranked(kind: str) -> Iterator[Registry]:
    """Yield all registries, those first whose name says the kind, of these the newest first: a plugin's own."""
    made = Registry.made[::-1]
    yield from (registry for registry in made if kind in registry.name.lower())
    yield from (registry for registry in made if kind not in registry.name.lower())


def registry_of(name: str, kind: str) -> Registry | None:
    """Find the registry that has a class.

    Args:
        name: The class's name, as a config says it.
        kind: ``'model'``, ``'dataset'``, ...: what the registry's name most likely contains.

    Returns:
        The registry; None if none has it.
    """
    plain = name.rpartition('.')[2]
    return next((item for item in _ranked(kind) if plain in item.module_dict and item.get(name) is not None), None)


def not_registered(kind: str, name: str) -> UserError:
    """Return the error for a type that no registry has.

    Args:
        kind: See :func:`registry_of`.
        name: The type.

    Returns:
        The error, to be raised.
    """
    known = sorted({key for item in Registry.made if kind in item.name.lower() for key in item.module_dict})
    near = nearest(name, known)
    hint = f'did you mean {near[0]}?' if near else f'the repository has {", ".join(known[:20]) or "none"}.'
    return UserError(
        f'{kind}: type={name!r} is registered nowhere; {hint} Import the module that registers it: '
        'custom_imports=dict(imports=[...]).'
    )


def find_hook(name: Any) -> type | None:
    """Return the hook of a repository that has a name; None if none of 1.x's signatures has."""
    return HOOKS.module_dict.get(name) if isinstance(name, str) else None


def find_lr_hook(policy: Any) -> str | None:
    """Return the name of the hook that a repository's ``lr_config.policy`` means; None if there is none."""
    if not isinstance(policy, str):
        return None
    name = f'{policy.title() if policy == policy.lower() else policy}LrUpdaterHook'
    found = HOOKS.module_dict.get(name)
    return name if found is not None and issubclass(found, LrUpdaterHook) else None


def find_runner(name: Any) -> type | None:
    """Return the runner of a repository that has a name; None if there is none."""
    return RUNNERS.module_dict.get(name) if isinstance(name, str) else None


def find_build_dataset(name: str) -> Any:
    """Find the function by which a repository builds its data sets, wrappers and lists included.

    Args:
        name: Type of the data set.

    Returns:
        ``build_dataset`` of the package in whose registry the type is; without one, the registry's own.

    Raises:
        UserError: If no registry has the type.
    """
    registry = registry_of(name, 'dataset')
    if registry is None:
        raise not_registered('dataset', name)
    for module in (f'{registry.scope}.datasets', f'{registry.scope}.datasets.builder', f'{registry.scope}.data'):
        try:
            function = getattr(importlib.import_module(module), 'build_dataset', None)
        except ModuleNotFoundError:
            continue
        if function is not None:
            return function
    return registry.build
