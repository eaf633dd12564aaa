"""Build a data set, and refuse one without samples."""

from collections.abc import Mapping
from typing import Any

from mmopt.registry import DATASETS
from mmopt.utils.errors import DataError

__all__ = ['build_dataset']

# What NumPy says when MMEngine's data set stores an empty list.
_EMPTY = 'need at least one array to concatenate'
_SELECTING = ('ann_file', 'data_root', 'data_prefix', 'indices', 'filter_cfg')


def build_dataset(dataset: Any) -> Any:
    """Build a data set and list its samples.

    Args:
        dataset: Its config; one that is built is taken as it is.

    Returns:
        The data set, with at least one sample.

    Raises:
        DataError: If it has none.
    """
    built = dataset
    try:
        if isinstance(dataset, Mapping):
            built = DATASETS.build(dataset)
        if hasattr(built, 'full_init'):
            built.full_init()
    except ValueError as error:
        if str(error) != _EMPTY:
            raise
        raise DataError(_no_samples(dataset, str(_of(dataset, 'type') or type(dataset).__name__))) from error
    if hasattr(built, '__len__') and not len(built):
        raise DataError(_no_samples(dataset, type(built).__name__))
    return built


def _of(dataset: Any, key: str) -> Any:
    return dataset.get(key) if isinstance(dataset, Mapping) else getattr(dataset, key, None)


def _no_samples(dataset: Any, name: str) -> str:
    given = {key: value for key in _SELECTING if (value := _of(dataset, key))}
    told = ', '.join(f'{key}={value!r}' for key, value in given.items())
    where = f' ({told})' if told else ''
    return f'{name} has no samples{where}: check the files and folders that it reads, and what it selects.'
