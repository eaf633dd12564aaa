"""What a hook must be, checked before the run: a priority that exists, methods that take what the loops give them."""

import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Priority
from mmengine.runner.priority import get_priority

from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['check_points', 'check_priority', 'uncalled_points']

_POINTS = {
    name: [parameter.name for parameter in inspect.signature(method).parameters.values()][2:]
    for name, method in vars(Hook).items()
    if name.startswith(('before_', 'after_')) and callable(method)
}
_OPTIONAL = {'data_batch', 'outputs', 'metrics'}


def check_priority(priority: Any, owner: str) -> None:
    """Refuse a priority that is none.

    Args:
        priority: As the config has it; None is the hook's own.
        owner: The hook.

    Raises:
        UserError: If it is no name and no number from 0 to 100.
    """
    if priority is None:
        return
    try:
        get_priority(priority)
    except (KeyError, ValueError, TypeError) as error:
        near = nearest(str(priority), Priority.__members__)
        hint = f'did you mean {" or ".join(near)}? Known' if near else 'known'
        raise UserError(
            f'{owner}: priority={priority!r} is none; {hint}: {", ".join(Priority.__members__)}, and numbers from 0 '
            '(first) to 100.'
        ) from error


def check_points(hook: type) -> None:
    """Refuse a method that cannot be called as the loops call it, such as one written for MMCV 1.x.

    Args:
        hook: The class of a hook.

    Raises:
        UserError: With class, method, place and the line to write.
    """
    for point, names in _POINTS.items():
        method = getattr(hook, point, None)
        if method is None or method is getattr(Hook, point):
            continue
        try:
            signature = inspect.signature(method)
            signature.bind(hook, None, **dict.fromkeys(names))
        except ValueError:  # no Python function
            continue
        except TypeError as error:
            wanted = ', '.join(f'{name}=None' if name in _OPTIONAL else name for name in names)
            arguments = f'self, runner, {wanted}' if wanted else 'self, runner'
            old = ', as hooks of MMCV 1.x,' if len(signature.parameters) == 2 and names else ''
            raise UserError(
                f'{hook.__name__}.{point}{signature}{old} cannot be called with {", ".join(["runner", *names])}, which '
                f'MMEngine gives it: write def {point}({arguments}){_place(method)}.'
            ) from error


def _place(method: Any) -> str:
    code = getattr(inspect.unwrap(method), '__code__', None)
    return '' if code is None else f' in {code.co_filename}:{code.co_firstlineno}'


def uncalled_points(hook: type) -> Iterator[str]:
    """Yield a line for each method that looks like a point and is none, so that nobody calls it.

    Args:
        hook: The class of a hook.
    """
    for name, method in inspect.getmembers(hook, inspect.isfunction):
        if not name.startswith(('before_', 'after_')) or name in _POINTS or method.__module__.startswith('mmengine'):
            continue
        # MMCV's points of training and evaluation together.
        stages = [f'{start}_{stage}_{unit}' for start, _, unit in [name.partition('_')] for stage in ('train', 'val')]
        near = stages if all(stage in _POINTS for stage in stages) else nearest(name, _POINTS)
        if near:
            yield f'{hook.__name__}.{name} is never called: there is no such point. Did you mean {" or ".join(near)}?'
