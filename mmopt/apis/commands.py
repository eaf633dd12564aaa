"""The console script ``mmopt``: ``mmopt train CONFIG`` is ``python tools/train.py CONFIG``, wherever mmopt lies.

The tools are scripts; :mod:`mmopt.utils.shipped` knows where. This module adds no tool and no flag: it finds the script
of a name and runs it.
"""

import ast
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from mmopt import __version__
from mmopt.apis.cli.pipe import LastingStream
from mmopt.utils.shipped import find_tools
from mmopt.utils.terminal import nearest

__all__ = ['SHORT', 'main']

SHORT = dict(convert='convert_config', estimate='estimate_memory')
"""Shorter names of tools; the long ones work as well."""


def _overview(tools: Mapping[str, Path]) -> str:
    short = {tool: name for name, tool in SHORT.items()}
    names = {tool: short.get(tool, tool) for tool in tools}
    width = max(map(len, names.values()), default=0)
    lines = ['usage: mmopt TOOL [ARGUMENTS]     mmopt TOOL --help says more', '']
    for tool, path in tools.items():
        summary = (ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or '').partition('\n')[0]
        lines.append(f'  {names[tool]:{width}}  {summary}')
    return '\n'.join(lines)


def _run_script(path: Path, name: str, arguments: Sequence[str]) -> None:
    """Run a script as Python does, but for the name that it goes by in its help and in the commands that it prints."""
    module = ModuleType('__main__')
    module.__file__ = str(path)  # workers that are started by spawn import it from there
    before = sys.modules['__main__']
    sys.modules['__main__'] = module
    sys.argv = [f'mmopt {name}', *arguments]
    try:
        exec(compile(path.read_text(encoding='utf-8'), str(path), 'exec'), module.__dict__)
    finally:
        sys.modules['__main__'] = before


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tool as if its script had been called.

    Args:
        argv: Name of the tool and its arguments; by default those of this process.

    Returns:
        The exit code where no tool ran; a tool leaves with its own.
    """
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ['--help']
    tools = find_tools()
    if name in ('-h', '--help'):
        LastingStream(sys.stdout, goes_on=False).write(f'{_overview(tools)}\n')
        return 0
    if name == '--version':
        print(f'mmopt {__version__}')
        return 0
    # Shells complete file names, and some people write dashes.
    asked = name.removesuffix('.py').replace('-', '_')
    path = tools.get(SHORT.get(asked, asked))
    if path is None:
        near = nearest(name, [*tools, *SHORT])
        hint = f'Did you mean {" or ".join(near)}?' if near else f'Known: {", ".join(tools) or "none"}.'
        print(f'error: mmopt has no tool {name!r}. {hint}', file=sys.stderr)
        return 2
    _run_script(path, asked, arguments)
    return 0


if __name__ == '__main__':
    sys.exit(main())
