"""Import the modules of ``custom_imports``; where one fails, say why: MMEngine says no more than which."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.utils import import_modules_from_strings

from mmopt.utils.errors import UserError
from mmopt.utils.user_code import describe, place_in_user_code

__all__ = ['import_custom_modules']


def import_custom_modules(path: Path, custom_imports: Mapping[str, Any] | None) -> None:
    """Import what a config and its options name, so that their types are registered.

    Args:
        path: The config.
        custom_imports: Its section of that name: ``imports``, ``allow_failed_imports``.

    Raises:
        UserError: If there is no such module, or its code fails; the message names the line.
    """
    if not custom_imports:
        return
    try:
        import_modules_from_strings(**custom_imports)
    except Exception as error:  # whatever a module of the user's raises
        raise UserError(f'{path}: {_explain(error)}') from error


def _explain(error: BaseException) -> str:
    cause = error
    if isinstance(error, ImportError) and error.__context__ is not None:
        name, cause = str(error).removeprefix('Failed to import '), error.__context__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f'{name}.'.startswith(f'{cause.name}.'):
            return (
                f'custom_imports: there is no module {cause.name!r}. Modules of yours are looked for in the folders of '
                f'PYTHONPATH ({os.environ.get("PYTHONPATH") or "empty"}): PYTHONPATH=. python ... adds the current one.'
            )
    if isinstance(cause, SyntaxError):
        return f'custom_imports failed in {cause.filename}:{cause.lineno}: {cause.msg}: {(cause.text or "").strip()}'
    place = place_in_user_code(cause)
    return f'custom_imports failed{"" if place is None else f" in {place}"}: {describe(cause)}'
