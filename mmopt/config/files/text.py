"""The text of a config file: its ``{{ }}`` replaced, parsed, and where in it something failed."""

import ast
import sysconfig
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmopt.config.schema import ConfigError

__all__ = ['nodes', 'parse', 'place', 'substituted', 'with_base_values']


def nodes(path: Path) -> Iterator[ast.AST]:
    """Walk through a file as it stands; nothing where it is Python only when its ``{{ }}`` are replaced."""
    with suppress(SyntaxError):
        yield from ast.walk(ast.parse(_text(path)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path}: is not written in UTF-8: {error}; save it in UTF-8.') from error


def substituted(path: Path) -> tuple[str, dict[str, str]]:
    """Return the text of a config file with everything between ``{{ }}`` replaced.

    Returns:
        The text, and the texts in it that stand for ``{{ _base_.x }}`` with the ``x`` of each.

    Raises:
        ConfigError: If the file is not in UTF-8, or asks for a variable of the environment that is not set.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder, path.name))
        _text(path)
        try:
            Config._substitute_predefined_vars(str(path.absolute()), copy)
            Config._substitute_env_variables(copy, copy)
        except KeyError as error:
            raise ConfigError(f'{path}: {error.args[0]}') from error
        placeholders = Config._pre_substitute_base_vars(copy, copy)
        return Path(copy).read_text(encoding='utf-8-sig'), placeholders


def with_base_values(path: Path, own: dict[str, Any], base: ConfigDict, placeholders: Mapping[str, str]) -> dict:
    """Put the values of the bases in the place of ``{{ _base_.x }}``.

    Args:
        path: The file, for messages.
        own: What it says.
        base: What its bases say.
        placeholders: See :func:`substituted`.

    Returns:
        What the file says then.

    Raises:
        ConfigError: If the bases have no such value, or it stands inside a longer text.
    """
    try:
        # Also without any: it copies every value, so that two names of one dict do not share its `_delete_`.
        own = Config._substitute_base_vars(own, placeholders, base)
    except (KeyError, TypeError) as error:
        names = ', '.join(f'{{{{_base_.{name}}}}}' for name in sorted(set(placeholders.values())))
        raise ConfigError(f'{path}: its bases have no {error}, which one of these asks for: {names}.') from error
    left = [name for text, name in placeholders.items() if text in repr(own)]
    if left:
        raise ConfigError(
            f'{path}: {{{{_base_.{left[0]}}}}} stands inside a longer text, but it stands for a whole value: write it '
            f'without quotes, and put texts together with an f-string of a variable, or use _base_.{left[0]}.'
        )
    return own


def parse(path: Path, text: str) -> ast.Module:
    """Parse a Python file; a ConfigError names the line that is none."""
    try:
        return ast.parse(text, str(path))
    except SyntaxError as error:
        raise ConfigError(f'{path}:{error.lineno}: {error.msg}: {(error.text or "").strip()}') from error


def place(error: Exception, path: str, line: int | None = None) -> str:
    """Name the file and line that failed, in one line of text.

    Args:
        error: What was raised.
        path: The config file, where no line of it is known.
        line: Where the statement of the config begins.

    Returns:
        Place, kind of error and reason.
    """
    text = ' '.join(str(error).split()) or 'no reason given'
    if isinstance(error, SyntaxError):
        return f'{error.filename or path}:{error.lineno}: {error.msg}: {(error.text or "").strip()}'
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    where = f'{frames[-1].filename}:{frames[-1].lineno}' if frames else f'{path}:{line}' if line else path
    with warnings.catch_warnings():
        # MMEngine leaves a temporary file open when a config is broken: it closes here, with its frames.
        warnings.simplefilter('ignore', ResourceWarning)
        traceback.clear_frames(error.__traceback__)
    return f'{where}: {type(error).__name__}: {text}'


def _is_users(filename: str) -> bool:
    """Tell whether code is a config or a module of the user's: neither installed, nor Python's, nor this reader."""
    installed = (sysconfig.get_path('stdlib'), sysconfig.get_path('purelib'), str(Path(__file__).parent))
    return not filename.startswith(('<', *installed))
