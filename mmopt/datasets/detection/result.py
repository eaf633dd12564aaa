"""The boxes found in one picture.

Shape letters: N boxes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mmopt.datasets.common.predict import Result
from mmopt.datasets.detection.pictures import draw_boxes
from mmopt.ops.letterbox import to_file_pixels
from mmopt.structures import DataSample

__all__ = ['DetectionResult']


class DetectionResult(Result):
    """Boxes of one picture, best first.

    Args:
        boxes: float64 (N, 4): x1, y1, x2, y2 in pixels of the file.
        scores: float64 (N,): confidences.
        labels: int64 (N,): class numbers.
        classes: Names, by class number.
        size: Height and width of the picture.
        load: Reads the picture.
    """

    task = 'detection'

    def __init__(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        size: Sequence[int],
        load: Callable[[], np.ndarray],
    ) -> None:
        super().__init__(classes, size, load)
        self.boxes = boxes
        self.scores = scores
        self.labels = labels
        self._confidence: float | None = None

    @classmethod
    def of_sample(cls, sample: DataSample, classes: Sequence[str], load: Callable[[], np.ndarray]) -> 'DetectionResult':
        """Take the predictions of a sample, with its letterbox undone as the metric undoes it."""
        size = sample.get('ori_shape')[:2]
        boxes_N4 = to_file_pixels(sample.get('pred_boxes').cpu().numpy(), sample.get('letterbox'), size)
        scores_N = sample.get('pred_scores').cpu().numpy().astype(np.float64)
        labels_N = sample.get('pred_labels').cpu().numpy().astype(np.int64)
        return cls(boxes_N4, scores_N, labels_N, classes, size, load)

    @property
    def names(self) -> list[str]:
        """The class of every box."""
        return [self.classes[label] for label in self.labels.tolist()]

    def above(self, confidence: float) -> 'DetectionResult':
        """Return the boxes of at least this confidence; a drawing then shows all of them."""
        keep_N = self.scores >= confidence
        kept = type(self)(
            self.boxes[keep_N], self.scores[keep_N], self.labels[keep_N], self.classes, self.size, lambda: self.picture
        )
        kept._confidence = confidence
        return kept.found_in(self.file, self.frame, self.time_s)

    def to_json(self) -> dict[str, Any]:
        """Return size, boxes (x1, y1, x2, y2), scores, labels and names as lists."""
        return dict(
            size=list(self.size),
            boxes=self.boxes.tolist(),
            scores=self.scores.tolist(),
            labels=self.labels.tolist(),
            names=self.names,
        )

    def draw(self) -> np.ndarray:
        """Draw the boxes: those from 0.25 on, or those that :meth:`above` left; a small picture is enlarged.

        Of a pair both pictures, side by side.
        """
        sample = DataSample()
        sample.boxes = torch.zeros(0, 4)
        sample.pred_boxes = torch.as_tensor(self.boxes)
        sample.pred_scores = torch.as_tensor(self.scores)
        sample.pred_labels = torch.as_tensor(self.labels)
        options = {} if self._confidence is None else dict(min_score=self._confidence)
        views = [self.picture[..., first : first + 3] for first in range(0, self.picture.shape[2], 3)]
        drawn = [draw_boxes(np.ascontiguousarray(view), sample, self.classes, **options) for view in views]
        return np.concatenate(drawn, axis=1)
