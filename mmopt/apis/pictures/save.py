"""A few pictures of what a model predicts, drawn by its data set or by the visualizer of the config."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.runner import Runner

from mmopt.apis.pictures.painter import Painter, find_painter, require_painter, spread
from mmopt.utils.errors import UserError

__all__ = ['NUM_PICTURES', 'can_draw', 'save_pictures', 'spread', 'write_picture']

NUM_PICTURES = 4
"""Pictures of a run or an evaluation, unless a flag says otherwise."""


def can_draw(dataset: Any, cfg: Mapping[str, Any] | None = None) -> bool:
    """Tell whether somebody draws the samples of a data set; see :func:`mmopt.apis.pictures.painter.find_painter`."""
    return find_painter(dataset, cfg or {}) is not None


def save_pictures(runner: Runner, dataset: Any, collate: Callable, folder: str | Path, count: int) -> list[Path]:
    """Predict samples spread over a data set and write one picture each.

    Args:
        runner: Holds the model.
        dataset: Its samples are ``dict(inputs=..., data_samples=...)``. It draws by ``draw(sample, image) -> uint8
            RGB``; where it has none, the visualizer of the runner's config does.
        collate: Makes a batch of a list of samples: the loader's ``collate_fn``.
        folder: Where the pictures go; made if need be.
        count: Number of pictures.

    Returns:
        The files.

    Raises:
        UserError: If nobody draws.
    """
    painter = require_painter(dataset, getattr(runner, 'cfg', {}))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_picture(folder / f'{index:06d}.jpg', picture)
        for index, picture in _draw(runner, dataset, collate, count, painter)
    ]


def _draw(runner: Runner, dataset: Any, collate: Callable, count: int, painter: Painter) -> Iterator[tuple[int, Any]]:
    model = getattr(runner.model, 'module', runner.model)
    was_training = model.training
    model.eval()
    autocast = getattr(runner, 'autocast', nullcontext)  # MMEngine's own runner has none
    try:
        for index in spread(len(dataset), count):
            sample = dataset[index]
            with torch.no_grad(), autocast():
                predicted = model.val_step(collate([sample]))[0]
            yield index, painter.draw_prediction(index, predicted.cpu(), sample['inputs'])
    finally:
        model.train(was_training)


def write_picture(path: Path, picture: Any) -> Path:
    """Write a uint8 RGB picture as a JPEG and return its path."""
    # OpenCV stores BGR.
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]):
        raise UserError(f'{path}: cannot be written; is the disk full?')
    return path
