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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.seeding import sample_rng

__all__ = ['Frame', 'Result', 'Source', 'load_sample', 'picture_info', 'predict_sample', 'read_picture']


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture that is no file of its own: a frame of a film, a half of a pair.

    Attributes:
        path: The file that it is part of, for messages.
        load: Reads it, as uint8 RGB (H, W, 3); of what passes by only once, once and in order.
    """

    path: str
    load: Callable[[], np.ndarray]


Source = Any
"""The path of a picture; a picture, uint8 RGB (H, W, 3) or gray (H, W); a :class:`Frame`; or what else a data set's
``predict_info`` takes."""


class Result(ABC):
    """What a model found in one picture, in pixels of the file as it is displayed.

    Args:
        classes: Names, by class number.
        size: Height and width of the picture.
        load: Reads the picture, as uint8 RGB: nobody who does not draw waits for it.
    """

    task: str
    """Chooses the writers of :mod:`mmopt.apis.predict.formats.writers`."""
    lacks: frozenset[str] = frozenset()
    """Formats of the task that cannot be written of these results."""
    file: str | None = None
    """The file that it was found in; None of an array."""
    frame: int | None = None
    """Its number in a film, from 0."""
    time_s: float | None = None
    """When it is shown, in seconds after the film's first frame."""

    def __init__(self, classes: Sequence[str], size: Sequence[int], load: Callable[[], np.ndarray]) -> None:
        self.classes = tuple(classes)
        self.size = (int(size[0]), int(size[1]))
        self._load = load

    @cached_property
    def picture(self) -> np.ndarray:
        """The picture, uint8 RGB (H, W, 3)."""
        return self._load()

    @cached_property
    def drawing(self) -> np.ndarray:
        """What :meth:`draw` gives, drawn once for all who write it."""
        return self.draw()

    def above(self, confidence: float) -> 'Result':
        """Return the result without what is less certain; here, where nothing has a confidence, as it is."""
        del confidence
        return self

    def found_in(self, file: str | None, frame: int | None = None, time_s: float | None = None) -> Self:
        """Note where it was found, and return the result."""
        self.file, self.frame, self.time_s = file, frame, time_s
        return self

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""

    @abstractmethod
    def draw(self) -> np.ndarray:
        """Return the picture with the result drawn into it, uint8 RGB."""


def picture_info(source: Source, num_channels: int = 3) -> dict[str, Any]:
    """Return what a pipeline of pictures starts from.

    Args:
        source: A path, an array or a frame.
        num_channels: Of arrays: 6 of pairs. An array of three may be a gray one.

    Returns:
        ``img_path``, and ``img`` where the picture is there already.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If an array is no picture.
    """
    if isinstance(source, Frame):
        return dict(picture_info(source.load(), num_channels), img_path=source.path)
    if not isinstance(source, np.ndarray):
        if not Path(source).is_file():  # the loader would ask for the data set's folders
            raise DataNotFoundError(f'{source}: no such file.')
        return dict(img_path=str(source))
    allowed = (1, 3) if num_channels == 3 else (num_channels,)
    shape = source.shape if source.ndim == 3 else (*source.shape, 1)
    if source.dtype != np.uint8 or len(shape) != 3 or shape[2] not in allowed:
        raise DataError(
            f'An array of shape {source.shape} and type {source.dtype} is no picture: it must be uint8, (height, '
            'width, 3) in the order red, green, blue, or (height, width) of gray values; a pair has six channels.'
        )
    if not source.size:
        raise DataError(f'An array of shape {source.shape} has no pixels.')
    image_HWC = source.reshape(shape)
    return dict(img_path='', img=np.ascontiguousarray(np.broadcast_to(image_HWC, (*shape[:2], num_channels))))


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
    return load_sample(dataset, source)[0]


def load_sample(dataset: Any, source: Source) -> tuple[dict[str, Any], np.ndarray | None]:
    """Do what :func:`predict_sample` does, and keep the picture: nobody who draws has to decode it again.

    Returns:
        The sample, and the picture as :func:`read_picture` gives it; None where the pipeline has no ``img``.
    """
    results = dataset.predict_info(source)
    results.update(fields=[], sample_idx=0, epoch=0, rng=sample_rng(0))
    loaded: tuple[np.ndarray, bool] | None = None
    for transform in _steps(dataset.pipeline.transforms):
        results = transform(results)
        if loaded is None and 'img' in results:
            loaded = results['img'], _is_bgr(results)
    return results, None if loaded is None else _to_rgb(*loaded)


def read_picture(dataset: Any, source: Source) -> np.ndarray:
    """Return a picture as the pipeline's loader reads it: turned as it is displayed, brought to 8 bits, RGB."""
    results = dataset.predict_info(source)
    for transform in _steps(dataset.pipeline.transforms):
        results = transform(results)
        if 'img' in results:
            break
    return _to_rgb(results['img'], _is_bgr(results))


def _is_bgr(results: dict[str, Any]) -> bool:
    return results.get('channel_order', 'bgr') == 'bgr'


def _to_rgb(image_HWC: np.ndarray, is_bgr: bool) -> np.ndarray:
    return np.ascontiguousarray(image_HWC[..., ::-1] if is_bgr else image_HWC).astype(np.uint8, copy=False)


def _steps(transforms: Sequence[Any]) -> Iterator[Any]:
    for transform in transforms:
        if isinstance(inside := getattr(transform, 'transforms', None), list | tuple):  # a Compose
            yield from _steps(inside)
        elif not getattr(transform, 'loads_truth', False):
            yield transform
