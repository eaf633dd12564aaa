"""Who draws a sample: the data set itself, or the visualizer of the config, as MMEngine's libraries have one."""

import copy
import inspect
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from mmengine.structures import BaseDataElement, LabelData
from mmengine.visualization import Visualizer
from torch import Tensor

from mmopt.apis.run.facts import model_config
from mmopt.registry import VISUALIZERS
from mmopt.utils.errors import UserError

__all__ = ['Painter', 'find_painter', 'locate', 'require_painter', 'spread']

MAX_FRAMES = 8
"""Frames of a clip that a picture shows side by side."""
_numbers = itertools.count()


def spread(total: int, count: int) -> list[int]:
    """Return ``count`` positions spread evenly over ``total``, the first included; all if there are fewer."""
    count = min(total, count)
    return [index * total // count for index in range(count)]


class Painter(Protocol):
    """Draws samples of one data set as uint8 RGB pictures."""

    def draw(self, index: int, sample: Any, image: Any) -> np.ndarray:
        """Draw a sample as the pipeline gives it.

        Args:
            index: Its place in the data set.
            sample: Labels, and predictions if there are any.
            image: What the network sees: ``inputs``, or a uint8 RGB image.
        """
        ...

    def draw_prediction(self, index: int, sample: Any, image: Any) -> np.ndarray:
        """Draw a sample that a model has predicted, with the same arguments."""
        ...


def locate(dataset: Any, index: int) -> Any:
    """Follow wrappers (repeat, concatenation, subset) down to the data set that draws."""
    while not hasattr(dataset, 'draw'):
        if hasattr(dataset, '_get_ori_dataset_idx') and hasattr(dataset, 'datasets'):
            part, index = dataset._get_ori_dataset_idx(index)
            dataset = dataset.datasets[part]
        elif hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        else:
            return None
    return dataset


def find_painter(dataset: Any, cfg: Mapping[str, Any]) -> Painter | None:
    """Find what draws the samples of a data set.

    Args:
        dataset: The data set.
        cfg: A lowered config: its ``visualizer`` draws where the data set has no ``draw(sample, image)``.

    Returns:
        The painter; None if nobody draws.
    """
    if len(dataset) > 0 and locate(dataset, 0) is not None:
        return _OwnPainter(dataset)
    section = cfg.get('visualizer')
    if not isinstance(section, Mapping) or not section.get('type'):
        return None
    kind = section['type']
    kind = VISUALIZERS.get(kind) if isinstance(kind, str) else kind
    if kind is None or _drawing_method(kind) is None:
        return None
    return _VisualizerPainter(dataset, cfg)


def require_painter(dataset: Any, cfg: Mapping[str, Any]) -> Painter:
    """Find what draws the samples of a data set.

    Args:
        dataset: See :func:`find_painter`.
        cfg: See :func:`find_painter`.

    Returns:
        The painter.

    Raises:
        UserError: If nobody does.
    """
    painter = find_painter(dataset, cfg)
    if painter is None:
        kind = (cfg.get('visualizer') or {}).get('type')
        visualizer = f'the visualizer {kind} draws no samples' if kind else 'the config names no visualizer'
        raise UserError(
            f'{type(dataset).__name__} has no method draw(sample, image) and {visualizer}, so there are no pictures.'
        )
    return painter


class _OwnPainter:
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def draw(self, index: int, sample: Any, image: Any) -> np.ndarray:
        return locate(self.dataset, index).draw(sample, image)

    draw_prediction = draw


def _drawing_method(kind: type) -> str | None:
    """Name the method of a visualizer that draws a sample: MMEngine's own is an empty one."""
    if getattr(kind, 'add_datasample', None) not in (None, Visualizer.add_datasample):
        return 'add_datasample'
    return 'visualize_cls' if hasattr(kind, 'visualize_cls') else None  # MMPretrain's has one per task


class _Collector:
    """Stands where a visualizer's backends are, and keeps the picture that they would store."""

    def __init__(self) -> None:
        self.picture: np.ndarray | None = None

    def add_image(self, name: str, image: np.ndarray, *args: Any, **kwargs: Any) -> None:
        self.picture = image

    def add_video(self, name: str, image: np.ndarray, *args: Any, **kwargs: Any) -> None:
        self.picture = np.concatenate(list(image), axis=1)

    def close(self) -> None:
        pass


def _takes_meta(visualizer: Any) -> bool:
    """Tell MMPose's ``set_dataset_meta(dataset_meta)``, which reads a skeleton, from others of the name."""
    method = getattr(visualizer, 'set_dataset_meta', None)
    return method is not None and 'dataset_meta' in inspect.signature(method).parameters


class _VisualizerPainter:
    def __init__(self, dataset: Any, cfg: Mapping[str, Any]) -> None:
        # A name of its own: MMEngine keeps visualizers by name, and the run's has the run's backends.
        name = f'mmopt_pictures_{next(_numbers)}'
        section = dict(cfg['visualizer'], name=name, vis_backends=None, save_dir=None)
        self.visualizer: Any = VISUALIZERS.build(copy.deepcopy(section))
        self._draw: Any = getattr(self.visualizer, str(_drawing_method(type(self.visualizer))))
        # MMAction2's draws on the frames of a clip.
        self.takes_video = 'video' in inspect.signature(self._draw).parameters
        self.collector = _Collector()
        self.visualizer._vis_backends = dict(collector=self.collector)
        meta = getattr(dataset, 'metainfo', None)
        if _takes_meta(self.visualizer):
            self.visualizer.set_dataset_meta(meta)
        else:
            self.visualizer.dataset_meta = meta
        preprocessor = model_config(cfg).get('data_preprocessor') or {}
        # What turns the channels around makes RGB of them.
        self.is_bgr = bool(preprocessor.get('bgr_to_rgb') or preprocessor.get('to_rgb'))

    def draw(self, index: int, sample: Any, image: Any) -> np.ndarray:
        return self._paint(index, sample, image, draw_pred=False)

    def draw_prediction(self, index: int, sample: Any, image: Any) -> np.ndarray:
        # Predictions are in the pixels of the file: what the pipeline resized is scaled back.
        path = sample.get('img_path') if hasattr(sample, 'get') else None
        stored = cv2.imread(str(path)) if path is not None and Path(path).is_file() else None
        return self._paint(index, sample, image if stored is None else cv2.cvtColor(stored, cv2.COLOR_BGR2RGB))

    def _paint(self, index: int, sample: Any, image: Any, **options: Any) -> np.ndarray:
        self.collector.picture = None
        if self.takes_video:
            seen: dict[str, Any] = dict(video=self._to_frames(image), data_sample=_with_older_names(_plain(sample)))
        else:
            seen = dict(image=self._to_rgb(image), data_sample=_plain(sample), show=False)
        self._draw(name=str(index), **seen, **options)
        if self.collector.picture is None:
            kind = type(self.visualizer).__name__
            raise UserError(f'{kind}.{self._draw.__name__} made no picture of sample {index}.')
        return np.ascontiguousarray(self.collector.picture[..., :3], dtype=np.uint8)

    def _to_frames(self, clips: Any) -> list[np.ndarray]:
        """Take frames of ``(clips, channels, [time,] height, width)``, spread over them."""
        if not isinstance(clips, Tensor) or clips.dim() not in (4, 5) or clips.shape[1] not in (1, 3):
            shape = f' of shape {tuple(clips.shape)}' if isinstance(clips, Tensor) else ''
            raise UserError(
                f'inputs are a {type(clips).__name__}{shape}, which are no frames in color or gray that '
                f'{type(self.visualizer).__name__} can draw on.'
            )
        frames = clips if clips.dim() == 4 else clips.transpose(1, 2).flatten(0, 1)
        return [self._to_rgb(frames[place]) for place in spread(len(frames), MAX_FRAMES)]

    def _to_rgb(self, image: Any) -> np.ndarray:
        if isinstance(image, np.ndarray):  # undone already
            return image
        if not isinstance(image, Tensor) or image.dim() != 3:
            shape = f' of shape {tuple(image.shape)}' if isinstance(image, Tensor) else ''
            raise UserError(
                f'inputs are a {type(image).__name__}{shape}, which is no image that '
                f'{type(self.visualizer).__name__} can draw on.'
            )
        pixels = image.detach().cpu().float()
        if image.is_floating_point():  # normalized by the pipeline, nobody knows how: the whole range is shown
            low, high = pixels.min(), pixels.max()
            pixels = (pixels - low) * (255 / (high - low).clamp(min=1e-6))
        array = pixels.round().clamp(0, 255).byte().numpy().transpose(1, 2, 0)
        if array.shape[2] == 1:
            array = array.repeat(3, axis=2)
        return np.ascontiguousarray(array[..., 2::-1] if self.is_bgr else array[..., :3])


def _with_older_names(sample: Any) -> Any:
    """Add the names of labels that MMAction2's visualizer asks for, which its data samples had before 1.2."""
    if 'pred_label' in sample and 'pred_labels' not in sample:
        scores = dict(score=sample.pred_score) if isinstance(sample.get('pred_score'), Tensor) else {}
        sample.pred_labels = LabelData(item=sample.pred_label.flatten(), **scores)
    if 'gt_label' in sample and 'gt_labels' not in sample:
        sample.gt_label = sample.gt_label.flatten()
        sample.gt_labels = LabelData(item=sample.gt_label)
    return sample


def _plain(sample: Any) -> Any:
    """Copy a sample to the host, with boxes and masks as the arrays that visualizers draw."""
    if not isinstance(sample, BaseDataElement):
        return sample
    plain = sample.cpu().clone()
    for name, value in list(plain.items()):
        if isinstance(value, BaseDataElement):
            plain.set_field(_plain(value), name, dtype=type(value))
        elif hasattr(value, 'to_ndarray'):
            plain.set_data({name: value.to_ndarray().astype(bool)})
        elif not isinstance(value, Tensor) and isinstance(getattr(value, 'tensor', None), Tensor):
            plain.set_data({name: value.tensor})
    return plain
