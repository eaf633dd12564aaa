"""What ships beside the code: configs, tools, and the tables of the benchmark.

In a checkout they lie in the repository. A wheel carries them in ``mmopt/.mim``, where packages of OpenMMLab have
theirs, so that a config elsewhere may inherit from one of ours: ``_base_ = 'mmopt::baseline/bisenetv2_cityscapes.py'``.
"""

import os
import shlex
import sys
from pathlib import Path

from mmopt.utils.terminal import nearest

__all__ = ['find_config', 'find_tools', 'launch_command', 'near_configs', 'shipped_folder', 'tool_command']

_PACKAGE = Path(__file__).resolve().parents[1]
_IN_CHECKOUT = dict(configs='configs', tools='tools', tables='benchmarks/tables')


def shipped_folder(kind: str, package: Path = _PACKAGE) -> Path:
    """Return the folder of what ships.

    Args:
        kind: ``configs``, ``tools`` or ``tables``.
        package: The folder of mmopt.

    Returns:
        The folder in the package, else that of the repository; it need not exist.
    """
    inside = package / '.mim' / kind
    return inside if inside.is_dir() else package.parent / _IN_CHECKOUT[kind]


def find_tools(package: Path = _PACKAGE) -> dict[str, Path]:
    """Return the tools by name.

    Args:
        package: The folder of mmopt.

    Returns:
        Paths of the scripts; those that make and prepare data, from the folder ``datasets``, come last.
    """
    folder = shipped_folder('tools', package)
    paths = [*sorted(folder.glob('*.py')), *sorted(folder.glob('datasets/*.py'))]
    return {path.stem: path for path in paths}


def tool_command(tool: str, *arguments: str | Path) -> str:
    """Return the command that runs a tool from the current folder, quoted for a shell.

    Args:
        tool: Its name, e.g. ``'test'``.
        *arguments: Its arguments; paths count from the current folder.

    Returns:
        One line: ``mmopt TOOL`` where this process was called so and for an installed package, whose scripts nobody has
        seen; else ``python tools/TOOL.py``.
    """
    words = [str(argument) for argument in arguments]
    script = None if _says_mmopt() else find_tools().get(tool)
    if script is None:
        return shlex.join(['mmopt', tool, *words])
    return shlex.join(['python', os.path.relpath(script), *words])


def launch_command(config: str | Path, num_processes: int, *flags: str) -> str:
    """Return the command that trains in several processes of this machine, quoted for a shell."""
    if _says_mmopt():
        launch = ['torchrun', '--standalone', '--nproc-per-node', str(num_processes), '-m', 'mmopt', 'train']
        return shlex.join([*launch, str(config), '--launcher', 'pytorch', *flags])
    script = os.path.relpath(shipped_folder('tools') / 'dist_train.sh')
    return shlex.join(['bash', script, str(config), str(num_processes), *flags])


def _says_mmopt() -> bool:
    return sys.argv[0].startswith('mmopt ') or (_PACKAGE / '.mim').is_dir()


def find_config(name: str | Path, package: Path = _PACKAGE) -> Path:
    """Find a config by its path or, where there is no such file, by its name among those that ship.

    Args:
        name: A path; or ``baseline/bisenetv2_cityscapes``, with or without ``configs/`` before and ``.py`` behind.
        package: The folder of mmopt.

    Returns:
        The file that ships, as short as it can be said from the working folder; the same path where it is a file, or
        where none ships by that name.
    """
    path = Path(name)
    if path.is_file() or path.is_absolute():
        return path
    folder = shipped_folder('configs', package)
    parts = path.parts[1:] if path.parts[:1] == ('configs',) else path.parts
    there = folder.joinpath(*parts)
    for candidate in (there, there.with_name(f'{there.name}.py')):
        if parts and candidate.is_file():
            return _from_here(candidate)
    return path


def near_configs(name: str | Path, package: Path = _PACKAGE) -> list[str]:
    """Return the names of configs that ship which are like one that does not; as :func:`find_config` takes them."""
    folder = shipped_folder('configs', package)
    paths = sorted(folder.glob('[!_]*/*.py'), key=lambda path: path.parent.name != Path(name).parent.name)
    near = nearest(Path(name).stem, {path.stem for path in paths})
    return [f'{path.parent.name}/{path.stem}' for stem in near for path in paths if path.stem == stem]


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
