"""Mosaic and MixUp: training images made of several.

Papers: Bochkovskiy et al., https://arxiv.org/abs/2004.10934 (mosaic); Zhang et al., https://arxiv.org/abs/1710.09412
(MixUp). As in the recipe that they come from, MixUp follows a mosaic only, and both stop before the end of the run, so
that the network ends on images as it will see them.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.detection.letterbox import FILL, as_size, fit_scale, paste, resize, scale_boxes
from mmopt.registry import TRANSFORMS

__all__ = ['MixUp', 'Mosaic']


class _OtherImages:
    """Load further images of the data set with the sample's own randomness."""

    def __init__(self, load: Sequence[dict] | None) -> None:
        self.load = [TRANSFORMS.build(step) for step in load or [dict(type='LoadImageFromFile')]]

    def draw(self, results: dict) -> dict:
        """Return another image, as the loaders leave it."""
        dataset, rng = results['dataset'], results['rng']
        other = dataset.get_data_info(int(rng.integers(len(dataset))))
        other |= dict(rng=rng, epoch=results['epoch'], fields=[], sample_idx=results['sample_idx'])
        for step in self.load:
            other = step(other)
        return other


@TRANSFORMS.register_module()
class Mosaic(_OtherImages):
    """Join the image and three others around a random point of the canvas.

    Whether an epoch still has mosaics is asked of the sample's index, which carries the epoch: it reaches persistent
    workers, which never see a change of the data set.

    Args:
        size: Height and width of the result, or one number for a square.
        stop_epoch: First epoch (from 0) without mosaics; None: all have them.
        scale: Range of the factor on the size at which an image just fits the canvas.
        center: Range of the point where the four meet, as shares of the sides.
        load: Transforms that load the other images; plain images by default.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        prob: float = 0.5,
        stop_epoch: int | None = None,
        scale: tuple[float, float] = (0.4, 1.0),
        center: tuple[float, float] = (0.3, 0.7),
        load: Sequence[dict] | None = None,
    ) -> None:
        super().__init__(load)
        self.size = as_size(size)
        self.prob = prob
        self.stop_epoch = stop_epoch
        self.scale = tuple(scale)
        self.center = tuple(center)

    def __call__(self, results: dict) -> dict:
        rng = results['rng']
        stopped = self.stop_epoch is not None and results['epoch'] >= self.stop_epoch
        if stopped or rng.random() >= self.prob:
            return results
        (height, width), parts = self.size, [results, *(self.draw(results) for _ in range(3))]
        middle_y, middle_x = (round(side * rng.uniform(*self.center)) for side in (height, width))
        canvas_HWC = np.full((height, width, results['img'].shape[2]), FILL, np.uint8)
        boxes, labels = [], []
        for place, part in enumerate(parts):
            img_HWC = part['img']
            scale = fit_scale(img_HWC.shape, self.size) * rng.uniform(*self.scale)
            new = max(round(img_HWC.shape[0] * scale), 1), max(round(img_HWC.shape[1] * scale), 1)
            is_right, is_below = place % 2, place // 2
            # Each image touches the meeting point with one corner.
            corner = middle_x if is_right else middle_x - new[1], middle_y if is_below else middle_y - new[0]
            window = (
                (middle_x if is_right else 0), (middle_y if is_below else 0),
                (width if is_right else middle_x), (height if is_below else middle_y),
            )  # fmt: skip
            scaled_G4 = scale_boxes(part['boxes'], img_HWC.shape, new)
            moved_G4, keep_G = paste(canvas_HWC, resize(img_HWC, *new), scaled_G4, corner=corner, window=window)
            boxes.append(moved_G4)
            labels.append(part['labels'][keep_G])
        return results | dict(
            img=canvas_HWC,
            img_shape=self.size,
            boxes=np.concatenate(boxes),
            labels=np.concatenate(labels),
            letterbox=(1.0, 1.0, 0, 0),
            is_mosaic=True,
        )


@TRANSFORMS.register_module()
class MixUp(_OtherImages):
    """Average a mosaic with another image and keep the boxes of both.

    Args:
        prob: Probability, of mosaics alone.
        load: Transforms that load the other image and bring it to the mosaic's size.
    """

    def __init__(self, prob: float, load: Sequence[dict]) -> None:
        super().__init__(load)
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        if not results.get('is_mosaic') or results['rng'].random() >= self.prob:
            return results
        other = self.draw(results)
        if other['img'].shape != results['img'].shape:
            raise ValueError(
                f'MixUp: the other image is {other["img"].shape}, the mosaic {results["img"].shape}: end load with '
                'RandomLetterbox of the same size.'
            )
        return results | dict(
            img=cv2.addWeighted(results['img'], 0.5, other['img'], 0.5, 0.0),
            boxes=np.concatenate((results['boxes'], other['boxes'])),
            labels=np.concatenate((results['labels'], other['labels'])),
            is_mixed=True,
        )
