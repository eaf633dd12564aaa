"""Prediction on sources that are no single picture: a recording is cut into samples, and these make one result.

A data set class that has such sources offers, beside what :mod:`mmopt.datasets.common.predict` names:

``find_sources(named)``
    The sources that a file, a folder or what else the user named stands for, as :class:`FoundSource`; an empty list
    where pictures are meant. None stands for no name at all.
``open_source(source)``
    A :class:`CutSource`. Each of its parts goes to ``predict_info``, and the predicted samples to its ``join``.
    A data set without it predicts one sample per source.
``predict_options`` and ``prepare_predict(options, trained, metrics)``
    What the user can say of sources (name -> what it means), and what takes it before the first source, with the
    ``metainfo`` of the data that the model was trained on and the configs of the evaluation's metrics.
``reads_in_order``
    True where parts are read one after the other by one thread: a film is decoded onward.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmopt.datasets.common.predict import Result
from mmopt.structures import DataSample
from mmopt.utils.errors import UserError

__all__ = ['CutSource', 'FoundSource', 'RecordingResult', 'number_option']


@dataclass(frozen=True)
class FoundSource:
    """One source.

    Attributes:
        source: What ``open_source``, or ``predict_info``, takes.
        path: What it is called in results: a file or a folder.
        name: What the files written for it are called, with an ending.
        files: All that it is made of: if one changes, it is another source.
    """

    source: Any
    path: str
    name: str
    files: tuple[str, ...]


class CutSource(ABC):
    """A source that has been opened.

    Attributes:
        parts: What ``predict_info`` takes, one per sample.
    """

    parts: Sequence[Any]

    @abstractmethod
    def join(self, samples: Sequence[DataSample]) -> Result:
        """Make one result of the predicted samples of all parts, in their order."""


class RecordingResult(Result):
    """What a model found in a recording, in frames of its file.

    Args:
        classes: Names, by class number.
        num_frames: Frames of the recording.
        fps: Frames per second.
        title: Name of the recording.
    """

    def __init__(self, classes: Sequence[str], num_frames: int, fps: float, title: str) -> None:
        super().__init__(classes, (0, 0), _no_picture)
        self.num_frames = num_frames
        self.fps = fps
        self.title = title


def _no_picture() -> np.ndarray:
    raise UserError('A recording is no picture: draw() shows what was found in it.')


def number_option(options: dict[str, Any], name: str, check: Callable[[float], bool], rule: str) -> float | None:
    """Return an option as a number.

    Args:
        options: Texts or numbers by name.
        name: The option; None is returned where it was not given.
        check: Tells whether a number serves.
        rule: What a number must be, for the message.

    Returns:
        The number.

    Raises:
        UserError: If it is none or does not serve.
    """
    if (value := options.get(name)) is None:
        return None
    flag = f'--{name.replace("_", "-")}'
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f'{flag} {value!r}: must be a number.') from error
    if not (np.isfinite(number) and check(number)):
        raise UserError(f'{flag} {number:g}: must be {rule}.')
    return number
