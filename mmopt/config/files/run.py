"""A config file in Python, run as MMCV 1.x runs it."""

import ast
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.config.config import BASE_KEY

from mmopt.config.files.text import parse, place
from mmopt.config.schema import ConfigError

__all__ = ['Edits', 'run_file']

Edits = Mapping[str, Callable[[Any], Any]]
"""Variable -> what its value becomes after each assignment, in every file of a chain."""

_EDIT = '__mmopt_edit__'
# `pop` is not among them: with a name it is MMEngine's, and nobody pops from a list that he has just written.
_LIST_METHODS = ('append', 'count', 'extend', 'index', 'insert', 'remove', 'reverse', 'sort')


def run_file(
    path: Path, text: str, edits: Edits, read_bases: Callable[[Any], ConfigDict]
) -> tuple[dict[str, Any], ConfigDict]:
    """Run the text of a Python file.

    Args:
        path: The file, for messages and ``__file__``.
        text: With everything between ``{{ }}`` replaced.
        read_bases: Called with what the file says in ``_base_``.

    Returns:
        Its variables, and what its bases say.

    Raises:
        ConfigError: With file and line, if it is no Python or a statement fails.
    """
    tree = _with_edits(parse(path, text), edits)
    scope: dict[str, Any] = {'__file__': str(path), '__name__': path.stem, _EDIT: edits}
    base = None
    uses_base = _uses_base(tree)
    for statement in tree.body:
        _execute(statement, path, scope)
        if uses_base and base is None and BASE_KEY in scope:
            # MMEngine's `_base_.x` is the value that the bases have; MMCV 1.x has nothing but the list of files.
            base = scope[BASE_KEY] = read_bases(scope[BASE_KEY])
    names = scope.pop(BASE_KEY, [])
    if base is None:
        base = read_bases(names)
    return {key: value for key, value in scope.items() if _is_variable(key, value)}, base


def _execute(statement: ast.stmt, path: Path, scope: dict[str, Any]) -> None:
    try:
        exec(compile(ast.Module([statement], []), str(path), 'exec'), scope)  # a config is Python that its user runs
    except Exception as error:
        raise ConfigError(place(error, str(path), statement.lineno)) from error


def _uses_base(tree: ast.Module) -> bool:
    """Tell whether a file uses ``_base_.x`` or ``_base_['x']``, which only MMEngine knows."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr not in _LIST_METHODS and _is_base(node.value))
        or (
            isinstance(node, ast.Subscript)
            and isinstance(getattr(node.slice, 'value', None), str)
            and _is_base(node.value)
        )
        for node in ast.walk(tree)
    )


def _is_base(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == BASE_KEY


def _is_variable(name: str, value: Any) -> bool:
    # MMCV 1.x leaves out modules and functions, which no config can be made of; classes and built-in functions too.
    return not name.startswith('__') and not isinstance(
        value, types.ModuleType | types.FunctionType | types.BuiltinFunctionType | type
    )


def _with_edits(tree: ast.Module, edits: Edits) -> ast.Module:
    """Put ``x = edit(x)`` behind every statement that binds a variable which is to be edited."""
    if edits:
        tree = ast.fix_missing_locations(_Edit(edits).visit(tree))
    return tree


class _Edit(ast.NodeTransformer):
    def __init__(self, edits: Edits) -> None:
        self._edits = edits

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # names in there are not those of the config
        return node

    visit_Lambda = visit_ClassDef = visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def generic_visit(self, node: ast.AST) -> Any:
        super().generic_visit(node)
        if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            return node
        bound = dict.fromkeys(
            name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        )
        edited = [ast.parse(f'{name} = {_EDIT}[{name!r}]({name})').body[0] for name in bound if name in self._edits]
        return [node, *(ast.copy_location(statement, node) for statement in edited)]
