#!/usr/bin/env python
"""Check that docstrings agree with what they document; `make lint` runs it.

python tools/dev/check_docstrings.py mmopt tools

Arguments that are documented must exist, once and in the order of the signature. Self-evident ones may be left out, and
entries that only repeat the name (`runner: The runner.`) are refused. A function that returns a value says what, as
soon as its docstring has sections.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_SECTIONS = ('Args', 'Attributes', 'Returns', 'Yields', 'Raises')
_HEAD = re.compile(rf'^({"|".join(_SECTIONS)}):$')
_ENTRY = re.compile(r'^    (\*{0,2}\w+):(?: (.*))?$')
_FILLERS = {'the', 'a', 'an', 'its', 'this', 'of', 'to', 'one'}


def sections(docstring: str) -> dict[str, list[str]]:
    """Divide a docstring into its sections.

    Args:
        docstring: As :func:`inspect.cleandoc` leaves it.

    Returns:
        The lines of each section, indented as they stand.
    """
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in docstring.splitlines():
        if match := _HEAD.match(line):
            current = found.setdefault(match[1], [])
        elif line and not line.startswith(' '):
            current = None
        elif current is not None and line:
            current.append(line)
    return found


def repeats_name(name: str, text: str) -> bool:
    """Tell whether an entry says nothing that its name does not say."""
    words = re.findall(r'\w+', text.lower())
    return bool(words) and set(words) <= _FILLERS | set(name.lower().strip('*').split('_'))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names of a function's parameters in order, with the stars of ``*args`` and ``**kwargs``."""
    spec = function.args
    names = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
    names += [f'*{spec.vararg.arg}'] if spec.vararg else []
    names += [arg.arg for arg in spec.kwonlyargs]
    names += [f'**{spec.kwarg.arg}'] if spec.kwarg else []
    return names[1:] if names[:1] in (['self'], ['cls']) else names


def _arguments_of(node: ast.ClassDef) -> list[str] | None:
    """Return the arguments of a class: of its constructor, else its fields; None where a base class decides."""
    for name in ('__init__', '__new__'):
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == name:
                return parameters(item)
    if not node.bases and any('dataclass' in ast.unparse(item) for item in node.decorator_list):
        return [
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
    return None if node.bases else []


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, Documented | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _check_entries(kind: str, lines: list[str], known: list[str] | None) -> Iterator[str]:
    entries = [(match[1], match[2] or '', place) for place, line in enumerate(lines) if (match := _ENTRY.match(line))]
    if not entries:
        yield f'{kind} documents nothing: drop the section'
    for name, text, place in entries:
        is_whole = place + 1 == len(lines) or _ENTRY.match(lines[place + 1])
        if is_whole and repeats_name(name, text):
            yield f'{kind}: "{name}: {text}" only repeats the name: drop it, or say what the name does not'
    if known is None:
        return
    names = [name for name, _, _ in entries]
    for name in names:
        if name not in known:
            yield f'{kind}: {name} is no argument; there are {", ".join(known) or "none"}'
    order = [known.index(name) for name in names if name in known]
    if order != sorted(set(order)):
        yield f'{kind}: documented twice or in another order than the signature: {", ".join(names)}'


def check_node(node: Documented) -> list[str]:
    """Return what is wrong with the docstring of a function or class.

    Args:
        node: Its syntax tree; without a docstring nothing is wrong.

    Returns:
        One text per fault.
    """
    docstring = ast.get_docstring(node, clean=False)
    if docstring is None:
        return []
    found = sections(inspect.cleandoc(docstring))
    faults: list[str] = []
    if isinstance(node, ast.ClassDef):
        if 'Args' in found:
            faults += _check_entries('Args', found['Args'], _arguments_of(node))
        if 'Attributes' in found:
            faults += _check_entries('Attributes', found['Attributes'], None)
        return faults
    if 'Args' in found:
        faults += _check_entries('Args', found['Args'], parameters(node))
    own = list(_own_nodes(node))
    generates = any(isinstance(item, ast.Yield | ast.YieldFrom) for item in own)
    returns = any(
        isinstance(item, ast.Return)
        and item.value is not None
        and not (isinstance(item.value, ast.Constant) and item.value.value is None)
        for item in own
    )
    annotated = node.returns is not None and ast.unparse(node.returns) not in ('None', 'NoReturn', 'Never')
    is_property = any('property' in ast.unparse(item) for item in node.decorator_list)
    if found and returns and not generates and not is_property and 'Returns' not in found:
        faults.append('there are sections, but none says what is returned (Returns:)')
    if 'Returns' in found and not (returns or annotated):
        faults.append('Returns: nothing is returned')
    if 'Yields' in found and not generates:
        faults.append('Yields: nothing is yielded')
    return faults


def check_file(path: Path) -> list[str]:
    """Return the faults of a file, each with its place.

    Args:
        path: A Python file.

    Returns:
        Lines to print.
    """
    tree = ast.parse(path.read_text(encoding='utf-8'))
    nodes = [node for node in ast.walk(tree) if isinstance(node, Documented)]
    return [f'{path}:{node.lineno}: {node.name}: {fault}' for node in nodes for fault in check_node(node)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('paths', nargs='+', type=Path, metavar='PATH', help='files, or folders of them')
    args = parser.parse_args(argv)
    files = [file for path in args.paths for file in ([path] if path.is_file() else sorted(path.rglob('*.py')))]
    if not files:
        parser.error(f'no Python file in {", ".join(map(str, args.paths))}')
    faults = [fault for file in files for fault in check_file(file)]
    print('\n'.join(faults) if faults else f'{len(files)} files: docstrings agree with the code')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
