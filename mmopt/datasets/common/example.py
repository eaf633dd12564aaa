"""Example samples: what a data set's pipeline gives, from the config alone, so that memory is known without the data.

A data set class takes part by a class method::

    @classmethod
    def example_sample(cls, config: Mapping, max_items: int | None = None) -> dict: ...

``config`` is the data set's part of a lowered config (``type``, ``pipeline``, ...). It returns one training sample with
the shapes and types that leave the pipeline, of the worst case where they vary; ``max_items`` replaces its default for
the number of labels (boxes, events). Tensors are made by torch (``torch.zeros``), never by NumPy: the estimator runs
this on fake tensors, where a batch of any size costs nothing. Values matter only where the model reads them: labels
must be valid ones.

Optionally ``host_bytes(cls, config) -> dict`` says what a loader process holds beside the sample: ``sample`` (decoded
files and copies while it makes one) and, for videos, ``frame`` (one decoded frame of all views).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmopt.registry import DATASETS
from mmopt.utils.errors import UserError

__all__ = ['example_dataset', 'find_transform', 'image_size']


def find_transform(pipeline: Sequence[Mapping], *types: str) -> Mapping | None:
    """Return the last transform of a pipeline that has one of these types, or None."""
    found = [transform for transform in pipeline if transform.get('type') in types]
    return found[-1] if found else None


def image_size(pipeline: Sequence[Mapping], what: str) -> tuple[int, int]:
    """Return height and width that ``Resize`` gives.

    Args:
        what: For the error.

    Returns:
        (height, width) in pixels.

    Raises:
        UserError: If the pipeline has no Resize, so that the size depends on the files.
    """
    resize = find_transform(pipeline, 'Resize')
    scale = None if resize is None else resize.get('scale') or resize.get('img_scale')
    if scale is None:
        raise UserError(f'{what}: its pipeline has no Resize with a scale, so that only the files know the image size.')
    return int(scale[1]), int(scale[0])


def example_dataset(config: Mapping[str, Any]) -> tuple[type, Mapping[str, Any]]:
    """Find the data set class that makes samples, through wrappers.

    Args:
        config: A lowered data set config; of several data sets the first counts.

    Returns:
        The class and its part of the config.

    Raises:
        UserError: If the type is not registered.
    """
    while 'dataset' in config or 'datasets' in config:
        config = config['dataset'] if 'dataset' in config else config['datasets'][0]
    kind = config.get('type')
    found = DATASETS.get(kind) if isinstance(kind, str) else kind
    if found is None:
        near = f'known: {sorted(DATASETS.module_dict)}'
        raise UserError(f'type={kind!r} is not a known data set; {near}.')
    return found, config
