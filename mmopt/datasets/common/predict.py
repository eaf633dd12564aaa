"""Prediction on pictures that belong to no data set: the steps of a test pipeline, without those that load the truth.

A data set class takes part by two methods and an attribute; the predictor knows no more of a task:

``predict_info(source)``
    What its test pipeline starts from, of a path or an array.
``to_result(sample, source)``
    A predicted sample as a :class:`Result`, in pixels of the file.
``result_type``
    The class of its results.

A transform that is there for the truth alone says so by an attribute ``loads_truth = True``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.seeding import sample_rng

__all__ = ['Result', 'Source', 'picture_info', 'predict_sample', 'read_picture']

Source = str | np.ndarray
"""The path of a picture, or a picture: uint8 RGB (H, W, 3), or gray (H, W)."""


class Result(ABC):
    """What a model found in one picture, in pixels of the file as it is displayed.

    Args:
        classes: Names, by class number.
        size: Height and width of the picture.
        load: Reads the picture, as uint8 RGB: nobody who does not draw waits for it.
    """

    task: str
    """Chooses the writers of :mod:`mmopt.apis.predict.writers`."""
    lacks: frozenset[str] = frozenset()
    """Formats of the task that cannot be written of these results."""

    def __init__(self, classes: Sequence[str], size: Sequence[int], load: Callable[[], np.ndarray]) -> None:
        self.classes = tuple(classes)
        self.size = (int(size[0]), int(size[1]))
        self._load = load

    @cached_property
    def picture(self) -> np.ndarray:
        """The picture, uint8 RGB (H, W, 3)."""
        return self._load()

    def above(self, confidence: float) -> 'Result':
        """Return the result without what is less certain; here, where nothing has a confidence, as it is."""
        del confidence
        return self

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""

    @abstractmethod
    def draw(self) -> np.ndarray:
        """Return the picture with the result drawn into it, uint8 RGB."""


def picture_info(source: Source) -> dict[str, Any]:
    """Return what a pipeline of pictures starts from.

    Args:
        source: A path or an array.

    Returns:
        ``img_path``, and ``img`` where the picture is there already.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If an array is no picture.
    """
    if not isinstance(source, np.ndarray):
        if not Path(source).is_file():  # the loader would ask for the data set's folders
            raise DataNotFoundError(f'{source}: no such file.')
        return dict(img_path=str(source))
    if source.dtype != np.uint8 or not (source.ndim == 2 or (source.ndim == 3 and source.shape[2] in (1, 3))):
        raise DataError(
            f'An array of shape {source.shape} and type {source.dtype} is no picture: it must be uint8, (height, '
            'width, 3) in the order red, green, blue, or (height, width) of gray values.'
        )
    if not source.size:
        raise DataError(f'An array of shape {source.shape} has no pixels.')
    image_HWC = source if source.ndim == 3 else source[..., None]
    return dict(img_path='', img=np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3))))


def predict_sample(dataset: Any, source: Source) -> dict[str, Any]:
    """Run a data set's test pipeline on a picture that is none of its samples.

    Args:
        dataset: Has ``predict_info``; its samples need not be listed.
        source: A path or an array.

    Returns:
        ``inputs`` and ``data_samples``, as the pipeline packs them.

    Raises:
        DataError: If the picture cannot be read.
    """
    results = dataset.predict_info(source)
    results.update(fields=[], sample_idx=0, epoch=0, rng=sample_rng(0))
    for transform in _steps(dataset.pipeline.transforms):
        results = transform(results)
    return results


def read_picture(dataset: Any, source: Source) -> np.ndarray:
    """Return a picture as the pipeline's loader reads it: turned as it is displayed, brought to 8 bits, RGB."""
    results = dataset.predict_info(source)
    for transform in _steps(dataset.pipeline.transforms):
        results = transform(results)
        if 'img' in results:
            break
    image_HW3 = results['img']
    if results.get('channel_order', 'bgr') == 'bgr':
        image_HW3 = image_HW3[..., ::-1]
    return np.ascontiguousarray(image_HW3).astype(np.uint8)


def _steps(transforms: Sequence[Any]) -> Iterator[Any]:
    for transform in transforms:
        if isinstance(inside := getattr(transform, 'transforms', None), list | tuple):  # a Compose
            yield from _steps(inside)
        elif not getattr(transform, 'loads_truth', False):
            yield transform
