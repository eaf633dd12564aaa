"""Optional last steps: pictures, curves, counts. What was trained or measured by then must not be lost to them."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mmopt.utils.errors import UserError
from mmopt.utils.user_code import describe, place_in_user_code

__all__ = ['run_optional', 'warn']

P = ParamSpec('P')
T = TypeVar('T')


def warn(text: str) -> None:
    """Write a line to standard error."""
    print(f'warning: {text}', file=sys.stderr, flush=True)


def run_optional(
    what: str, tell: Callable[[str], object], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """Run a step that may fail without harm to what was done before.

    Args:
        what: What is missing if it fails, e.g. ``'pictures'``.
        tell: Takes the line that says so: :func:`warn`, or the warning of a logger.
        function: The step.
        *args: Of the step.
        **kwargs: Of the step.

    Returns:
        What it returns; None if it failed.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:  # whatever it is
        place = place_in_user_code(error)
        text = ' '.join(str(error).split()) if isinstance(error, UserError) else describe(error)
        tell(f'{what} left out: {"" if place is None else f"{place}: "}{text}')
        if os.environ.get('MMOPT_DEBUG', '0') not in ('', '0'):
            traceback.print_exc()
        return None
