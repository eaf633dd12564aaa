"""The names of the classes that a metric tells apart."""

from typing import Any

__all__ = ['class_names']


def class_names(metric: Any) -> tuple[str, ...]:
    """Return the classes of the data set that a metric judges.

    Args:
        metric: The metric; MMEngine's evaluator sets its ``dataset_meta``.

    Returns:
        Their names.

    Raises:
        ValueError: If the data set has none.
    """
    names = (metric.dataset_meta or {}).get('classes')
    if not names:
        raise ValueError(
            f'{type(metric).__name__}: no classes; give the data set metainfo=dict(classes=(...)), in the order of its '
            'label numbers.'
        )
    return tuple(names)
