"""The registry of mmcv 1.x, which is not MMEngine's: it knows no default scope.

MMEngine's looks first in the default scope, so that a repository would get mmopt's ``ResNet`` in the place of its own.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

__all__ = ['Registry', 'build_from_cfg']


def build_from_cfg(cfg: Mapping[str, Any], registry: 'Registry', default_args: Mapping[str, Any] | None = None) -> Any:
    """Build an object from its config.

    Args:
        cfg: The class's arguments and its name, or itself, under ``type``.
        registry: Where names are looked up.
        default_args: Arguments that ``cfg`` goes before.

    Returns:
        The object.

    Raises:
        TypeError: If an argument is of the wrong kind.
        KeyError: If there is no type, or the name is not registered.
        Exception: What the constructor raises, with the class's name in front.
    """
    if not isinstance(cfg, Mapping):
        raise TypeError(f'cfg must be a dict, but got {type(cfg)}')
    if 'type' not in cfg and not (default_args and 'type' in default_args):
        raise KeyError(f'`cfg` or `default_args` must contain the key "type", but got {cfg}\n{default_args}')
    if not (default_args is None or isinstance(default_args, Mapping)):
        raise TypeError(f'default_args must be a dict or None, but got {type(default_args)}')
    arguments = {**(default_args or {}), **cfg}
    kind = arguments.pop('type')
    if isinstance(kind, str):
        found = registry.get(kind)
        if found is None:
            raise KeyError(f'{kind} is not in the {registry.name} registry')
    elif inspect.isclass(kind) or inspect.isfunction(kind):
        found = kind
    else:
        raise TypeError(f'type must be a str or valid type, but got {type(kind)}')
    try:
        return found(**arguments)
    except Exception as error:
        raise _named(error, found.__name__) from error


def _named(error: Exception, name: str) -> Exception:
    """Return the error with a class's name in front; the error itself where its type takes no single text."""
    try:
        return type(error)(f'{name}: {error}')
    except Exception:
        return error


class Registry:
    """Classes by name, in a tree of scopes.

    :attr:`made` lists all registries of the process, in the order in which they were made.

    Args:
        name: For messages.
        build_func: What :meth:`build` calls with ``(cfg, registry, ...)``; the parent's, else :func:`build_from_cfg`.
        parent: Registry whose child this is: it is searched where a name says another scope than its own.
        scope: Name among the children; by default the first part of the module that makes the registry.
    """

    made: 'ClassVar[list[Registry]]' = []

    def __init__(
        self,
        name: str,
        build_func: Callable | None = None,
        parent: 'Registry | None' = None,
        scope: str | None = None,
    ) -> None:
        self._name = name
        self._module_dict: dict[str, Any] = {}
        self._children: dict[str, Registry] = {}
        self._scope = self.infer_scope() if scope is None else scope
        inherited: Callable[..., Any] = build_from_cfg if parent is None else parent.build_func
        self.build_func: Callable[..., Any] = build_func or inherited
        self.parent = parent
        Registry.made.append(self)
        if parent is not None:
            parent._add_children(self)

    def __len__(self) -> int:
        return len(self._module_dict)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name={self._name}, items={self._module_dict})'

    @staticmethod
    def infer_scope() -> str:
        """Return the first part of the name of the module that makes a registry."""
        frame = sys._getframe(2)
        return str(frame.f_globals.get('__name__', '')).split('.')[0]

    @staticmethod
    def split_scope_key(key: str) -> tuple[str | None, str]:
        """Cut ``'scope.Name'`` in two; without a scope the first is None."""
        scope, dot, name = key.partition('.')
        return (scope, name) if dot else (None, key)

    @property
    def name(self) -> str:
        """For messages."""
        return self._name

    @property
    def scope(self) -> str:
        """The name among its parent's children."""
        return self._scope

    @property
    def module_dict(self) -> dict[str, Any]:
        """What is registered here, by name."""
        return self._module_dict

    @property
    def children(self) -> dict[str, 'Registry']:
        """Registries below this one, by scope."""
        return self._children

    def get(self, key: str) -> Any:
        """Look a name up.

        Args:
            key: ``'Name'``: here and then in the parents. ``'scope.Name'``: in the registry of that scope.

        Returns:
            What is registered; None if nothing is.
        """
        scope, name = self.split_scope_key(key)
        if scope is None or scope == self._scope:
            if name in self._module_dict:
                return self._module_dict[name]
            if scope is None or self.parent is None:
                return self._module_dict.get(key)
            return None
        if scope in self._children:
            return self._children[scope].get(name)
        root = self
        while root.parent is not None:
            root = root.parent
        return root.get(key) if root is not self else None

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Build an object with the registry's function."""
        return self.build_func(*args, **kwargs, registry=self)

    def _add_children(self, registry: 'Registry') -> None:
        if registry.scope in self._children:
            raise AssertionError(f'scope {registry.scope} exists in {self.name} registry')
        self._children[registry.scope] = registry

    def _register_module(
        self, module: Any = None, module_name: str | Sequence[str] | None = None, force: bool = False, **aliases: Any
    ) -> None:
        """Register one class or function; older code names the first argument ``module_class``."""
        module = aliases.get('module_class', module)
        if not inspect.isclass(module) and not inspect.isfunction(module):
            raise TypeError(f'module must be a class or a function, but got {type(module)}')
        names = [module.__name__] if module_name is None else module_name
        for name in [names] if isinstance(names, str) else names:
            if not force and name in self._module_dict:
                raise KeyError(f'{name} is already registered in {self.name} at {self._module_dict[name].__module__}')
            self._module_dict[name] = module

    def register_module(self, name: Any = None, force: bool = False, module: Any = None) -> Callable[[Any], Any] | Any:
        """Register a class or function, as a call or as a decorator, with or without parentheses.

        Args:
            name: A name or several; by default its own. As ``@register_module`` without parentheses: the class.
            force: Replace what has the name.
            module: What to register; None gives a decorator.

        Returns:
            What was registered, or the decorator.

        Raises:
            TypeError: If an argument is of the wrong kind.
            KeyError: If the name is taken.
        """
        if not isinstance(force, bool):
            raise TypeError(f'force must be a boolean, but got {type(force)}')
        if inspect.isclass(name) or inspect.isfunction(name):
            self._register_module(name, force=force)
            return name
        if name is not None and not isinstance(name, str):
            is_names = isinstance(name, list | tuple) and all(isinstance(item, str) for item in name)
            if not is_names:
                raise TypeError(
                    f'name must be either of None, an instance of str or a sequence of str, but got {type(name)}'
                )
        if module is not None:
            self._register_module(module, name, force)
            return module

        def register(found: Any) -> Any:
            self._register_module(found, name, force)
            return found

        return register
