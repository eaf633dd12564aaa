"""What metrics give, made safe: one number per name, and an error that names the metric where it is something else."""

import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmengine.evaluator import Evaluator

from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_number, single

__all__ = ['check_predictions', 'measure', 'score_of']


def measure(evaluator: Any, size: int, warn: Callable[[str], object]) -> dict[str, Any]:
    """Let an evaluator compute its metrics.

    Args:
        evaluator: MMEngine's, or one of the user's, which is asked as it is.
        size: Samples of the data set.
        warn: Takes a line if no metric gave anything.

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
        for key in found.keys() & metrics.keys():
            raise UserError(
                f'{name} and {owners[key]} both give a metric {key!r}: write prefix=... into one of the metric dicts.'
            )
        metrics |= found
        owners |= dict.fromkeys(found, name)
    if not metrics:  # of one alone it may be meant: MMEngine's DumpResults gives none
        names = ', '.join(type(metric).__name__ for metric in evaluator.metrics)
        warn(f'{names} gave no metric for {size} samples.')
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


def check_predictions(outputs: Any, model: Any, evaluator: Any) -> None:
    """Refuse what MMEngine's evaluator would not take for a list of samples; one of the user's may take anything.

    Args:
        outputs: What the model returned.

    Raises:
        UserError: If it is no list of samples.
    """
    is_list = isinstance(outputs, Iterable) and not isinstance(outputs, Mapping)
    if type(evaluator) is Evaluator and not is_list:
        raise UserError(
            f"{type(model).__name__} returned a {type(outputs).__name__} in mode 'predict': it must return the list of "
            'samples, with what it predicts in them.'
        )


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
    value = single(metrics[key])
    if not is_number(value):
        shape = getattr(value, 'shape', None)
        what = f'an array of shape {tuple(shape)}' if shape else repr(value)
        raise UserError(
            f'{setting}: its value is no single number but {what}; name one, or let the metric give a mean.'
        )
    return float(value)
