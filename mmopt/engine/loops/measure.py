"""What metrics give, made safe: one number per name, and an error that names the metric where it is something else."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.evaluator import Evaluator

from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_number, single

__all__ = ['measure', 'score_of']


def measure(evaluator: Any, size: int, warn: Callable[[str], object]) -> dict[str, Any]:
    """Let an evaluator compute its metrics.

    Args:
        evaluator: MMEngine's, or one of the user's, which is asked as it is.
        size: Samples of the data set.
        warn: Takes a line about a metric that gave nothing.

    Returns:
        The metrics; arrays and tensors of one element as numbers, larger ones as they are: they are for the log.

    Raises:
        UserError: If a metric gave no dict, or two gave the same name.
    """
    if type(evaluator) is not Evaluator:
        return _plain(evaluator.evaluate(size), type(evaluator).__name__)
    metrics: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for metric in evaluator.metrics:
        name = type(metric).__name__
        found = _plain(_ask(metric, size, name), name)
        if not found:
            warn(f'{name} gave no metric for {size} samples.')
        for key in found.keys() & metrics.keys():
            raise UserError(
                f'{name} and {owners[key]} both give a metric {key!r}: write prefix=... into one of the metric dicts.'
            )
        metrics |= found
        owners |= dict.fromkeys(found, name)
    return metrics


def _ask(metric: Any, size: int, name: str) -> Any:
    try:
        return metric.evaluate(size)
    except AttributeError as error:
        # MMEngine puts the prefix before the keys of what compute_metrics returned, whatever it is.
        last = traceback.extract_tb(error.__traceback__)[-1]
        if last.name == 'evaluate' and 'mmengine' in last.filename:
            raise UserError(_no_dict(name, 'no dict')) from error
        raise


def _plain(found: Any, name: str) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise UserError(_no_dict(name, repr(found)))
    return {key: single(value) for key, value in found.items()}


def _no_dict(name: str, given: str) -> str:
    return f'{name} gave {given}: its compute_metrics must return a dict of numbers, such as dict(accuracy=0.5).'


def score_of(metrics: Mapping[str, Any], key: str, setting: str) -> float:
    """Return the metric that a setting names.

    Args:
        metrics: Of an evaluation.
        key: One of them.
        setting: What named it, e.g. ``"evaluation.save_best='mIoU'"``.

    Returns:
        Its value.

    Raises:
        UserError: If it is no single number.
    """
    value = metrics[key]
    if not is_number(value):
        shape = getattr(value, 'shape', None)
        what = f'an array of shape {tuple(shape)}' if shape else repr(value)
        raise UserError(f'{setting}: {key} is no single number but {what}; name one, or let the metric give its mean.')
    return float(value)
