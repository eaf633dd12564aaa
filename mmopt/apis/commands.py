"""The console script ``mmopt``: ``mmopt train CONFIG`` is ``python tools/train.py CONFIG``, wherever mmopt lies.

The tools are scripts. A wheel carries them in ``mmopt/_tools``; in a checkout they are in ``tools/``.
"""

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from mmopt import __version__
from mmopt.utils.terminal import nearest

__all__ = ['find_tools', 'main']

_PACKAGE = Path(__file__).resolve().parents[1]


def find_tools(package: Path = _PACKAGE) -> dict[str, Path]:
    """Return the tools by name.

    Args:
        package: The folder of mmopt.

    Returns:
        Paths of the scripts; those that make and prepare data, from the folder ``datasets``, come last.
    """
    inside = package / '_tools'
    folder = inside if inside.is_dir() else package.parent / 'tools'
    paths = [*sorted(folder.glob('*.py')), *sorted(folder.glob('datasets/*.py'))]
    return {path.stem: path for path in paths}


def _overview(tools: dict[str, Path]) -> str:
    width = max(map(len, tools), default=0)
    lines = ['usage: mmopt TOOL [ARGUMENTS]     mmopt TOOL --help says more', '']
    for name, path in tools.items():
        summary = (ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or '').partition('\n')[0]
        lines.append(f'  {name:{width}}  {summary}')
    return '\n'.join(lines)


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
        print(_overview(tools))
        return 0
    if name == '--version':
        print(f'mmopt {__version__}')
        return 0
    # Shells complete file names, and some people write dashes.
    path = tools.get(name.removesuffix('.py').replace('-', '_'))
    if path is None:
        near = nearest(name, tools)
        hint = f'Did you mean {" or ".join(near)}?' if near else f'Known: {", ".join(tools) or "none"}.'
        print(f'error: mmopt has no tool {name!r}. {hint}', file=sys.stderr)
        return 2
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name='__main__')
    return 0


if __name__ == '__main__':
    sys.exit(main())
