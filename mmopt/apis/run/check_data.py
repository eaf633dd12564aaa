"""Whether a training set has anything to learn from, asked before a run trains on nothing."""

from typing import Any

from mmopt.utils.errors import DataError

__all__ = ['check_targets']


def check_targets(dataset: Any) -> None:
    """Refuse a training set without a single target, unless it says ``allow_no_targets=True``.

    A data set knows what a target is: its method ``nothing_to_learn()`` returns why there is none, or an empty text.

    Args:
        dataset: A data set, or a wrapper around one (``dataset``) or several (``datasets``).

    Raises:
        DataError: If none of them has one.
    """
    reasons = _reasons(dataset)
    if reasons and all(reasons):
        raise DataError(
            f'{" ".join(dict.fromkeys(reasons))} A run would learn nothing: mend the annotations or the choice of '
            'classes, or say that it is meant: allow_no_targets=True in the data set.'
        )


def _reasons(dataset: Any) -> list[str]:
    inner = getattr(dataset, 'dataset', None)
    parts = [inner] if inner is not None else getattr(dataset, 'datasets', None)
    if parts is not None:
        return [reason for part in parts for reason in _reasons(part)]
    ask = getattr(dataset, 'nothing_to_learn', None)
    return [''] if ask is None or getattr(dataset, 'allow_no_targets', False) else [ask()]
