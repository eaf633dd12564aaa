"""Convert configs of the MMCV-1.x dialect to native files, and report which of a folder's configs can be run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmopt.apis.config import missing_file
from mmopt.config import ConfigError, is_native, lower
from mmopt.config.files import read_file
from mmopt.config.keys import DIALECT
from mmopt.config.render import render_native
from mmopt.utils.errors import UserError
from mmopt.utils.shipped import find_config

__all__ = ['Verdict', 'convert_config', 'report_configs']


# What Python, MMEngine and setuptools say of a package.
_MISSING = re.compile(r"No module named '(\w+)|(\w+) is not installed|The '([\w-]+)' distribution was not found")


@dataclass(frozen=True)
class Verdict:
    """What became of one config.

    Attributes:
        path: The file, relative to the folder.
        kind: ``'ok'``, ``'native'`` (nothing to do), ``'part'`` (of configs: there is nothing in it that runs),
            ``'refused'`` (a documented reason), ``'needs'`` (a package that is not installed), ``'unreadable'`` (Python
            or MMEngine cannot read it), ``'bug'`` (lowering failed without a message).
        reason: Why, in one line, or which package; empty for the first three.
    """

    path: str
    kind: str
    reason: str = ''

    def __str__(self) -> str:
        return f'{self.kind:<10} {self.path}' + (f': {self.reason}' if self.reason else '')


def convert_config(path: str | Path) -> str:
    """Convert one config.

    Args:
        path: A config file of the dialect; modules in its ``custom_imports`` need not be installed.

    Returns:
        Text of a native config file without bases.

    Raises:
        UserError: If the file is missing or native already, or says something that cannot be run.
    """
    path = find_config(path)
    if not path.is_file():
        raise missing_file(path, 'config', suffix='.py')
    original = read_file(path)  # without custom_imports: the models may belong to a library that is not here
    if is_native(original):
        raise UserError(f'{path} is a native MMEngine config already: use it as it is.')
    try:
        lowered = lower(original)
    except ConfigError as error:
        raise UserError(f'{path}: {error}') from error
    return render_native(lowered, original, source=path.name)


def report_configs(folder: str | Path) -> Iterator[Verdict]:
    """Lower every config below a folder, without building anything.

    Args:
        folder: Files and folders whose names begin with ``_base_`` are parts of configs and left out, and so are hidden
            folders.

    Yields:
        Verdict: One per config, in the order of their paths.

    Raises:
        UserError: If there is no such folder or no config in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'--report {folder}: there is no such folder.')
    paths = [path for path in sorted(folder.rglob('*.py')) if not _is_part(path.relative_to(folder))]
    if not paths:
        raise UserError(f'--report {folder}: no config (*.py outside _base_) lies in this folder or below.')
    for path in paths:
        yield _judge(path, str(path.relative_to(folder)))


def _is_part(path: Path) -> bool:
    return any(part.startswith('_base_') or part == '__pycache__' for part in path.parts)


def _judge(path: Path, name: str) -> Verdict:
    try:
        original = read_file(path)
    except Exception as error:  # whatever a config file raises is its own
        text = _one_line(error)
        missing = _MISSING.search(text)
        return Verdict(name, 'needs', missing[missing.lastindex or 0]) if missing else Verdict(name, 'unreadable', text)
    try:
        native = is_native(original)
        lower(original)
        if native:
            return Verdict(name, 'native')
        if not any(key in original for key in DIALECT):
            return Verdict(name, 'part')
    except ConfigError as error:
        return Verdict(name, 'refused', _one_line(error))
    except Exception as error:  # the report must reach its end; the tool then leaves with status 1
        return Verdict(name, 'bug', _one_line(error))
    return Verdict(name, 'ok')


def _one_line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return text if isinstance(error, ConfigError) else f'{type(error).__name__}: {text}'
