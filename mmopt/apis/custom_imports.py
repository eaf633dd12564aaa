"""Why a module of ``custom_imports`` cannot be imported: MMEngine lists ``sys.path``, whatever the cause."""

import os
import traceback

from mmopt.utils.user_code import describe, place_in_user_code

__all__ = ['explain_failed_import']


def explain_failed_import(error: BaseException) -> str | None:
    """Say what went wrong inside a module that a config imports, or that there is no such module.

    Args:
        error: As reading the config raised it.

    Returns:
        The text; None if the error is of another kind.
    """
    cause: BaseException = error
    if isinstance(error, ImportError) and str(error).startswith('Failed to import custom modules'):
        failed = error.__cause__  # "Failed to import NAME"
        if failed is None or failed.__context__ is None:
            return None
        name, cause = str(failed).removeprefix('Failed to import '), failed.__context__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f'{name}.'.startswith(f'{cause.name}.'):
            return (
                f'custom_imports: there is no module {cause.name!r}. Modules of yours are looked for in the folders of '
                f'PYTHONPATH ({os.environ.get("PYTHONPATH") or "empty"}): PYTHONPATH=. python ... adds the current one.'
            )
    functions = [frame.f_code.co_name for frame, _ in traceback.walk_tb(cause.__traceback__)]
    if 'import_modules_from_strings' not in functions:
        return None  # an error of the config itself
    if isinstance(cause, SyntaxError):
        return f'custom_imports failed in {cause.filename}:{cause.lineno}: {cause.msg}: {(cause.text or "").strip()}'
    place = place_in_user_code(cause)
    return f'custom_imports failed{"" if place is None else f" in {place}"}: {describe(cause)}'
