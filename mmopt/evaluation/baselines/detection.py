"""What box detection reaches without looking at the image."""

from typing import Any

import numpy as np
import torch

from mmopt.evaluation.detection.coco_scores import ImageBoxes, coco_scores
from mmopt.ops.boxes import box_iou
from mmopt.registry import METRICS

__all__ = ['BoxPrior', 'choose_boxes']


def choose_boxes(boxes_N4: np.ndarray, count: int, min_iou: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Choose the boxes that find most others when they are predicted everywhere.

    Each is the one that overlaps most boxes which no earlier choice overlaps; that number is its score.

    Args:
        count: Boxes to choose at most.
        min_iou: Overlap that finds a box.

    Returns:
        The boxes and their scores, best first.
    """
    boxes = torch.from_numpy(boxes_N4)
    finds_NN = box_iou(boxes, boxes) >= min_iou
    left_N = torch.ones(len(boxes_N4), dtype=torch.bool)
    chosen: list[int] = []
    scores: list[float] = []
    while len(chosen) < count and left_N.any():
        gain_N = (finds_NN & left_N).sum(dim=1)
        best = int(gain_N.argmax())
        chosen.append(best)
        scores.append(int(gain_N[best]) / len(boxes_N4))
        left_N &= ~finds_NN[best]
    return boxes_N4[chosen], np.array(scores)


@METRICS.register_module()
class BoxPrior:
    """The detector that knows where boxes are and how large, but not the image: a baseline for the key ``expect``.

    For every image it predicts the same boxes: those that would find most boxes of the training set, per class.

    Args:
        max_predictions: Boxes per image and class.
        max_boxes: Training boxes to choose among, spread evenly; the choice takes the square of it in memory.
    """

    def __init__(self, max_predictions: int = 100, max_boxes: int = 2000) -> None:
        self.max_predictions = max_predictions
        self.max_boxes = max_boxes

    def __call__(self, train_dataset: Any, val_dataset: Any) -> dict[str, float]:
        """Score the prior.

        Args:
            train_dataset: A data set whose ``get_data_info`` gives ``truth``; images of one size, or of sizes alike.
            val_dataset: Another one.

        Returns:
            As :func:`~mmopt.evaluation.detection.coco_scores.coco_scores`.
        """
        train, val = (
            [dataset.get_data_info(index) for index in range(len(dataset))] for dataset in (train_dataset, val_dataset)
        )
        # As shares of the image, so that sizes may differ.
        shares = [
            np.concatenate((item['truth'][:, :4] / _sides(item), item['truth'][:, 4:5]), axis=1) for item in train
        ]
        known = np.concatenate(shares) if shares else np.zeros((0, 5))
        known = known[:: max(len(known) // self.max_boxes, 1)]
        # Without any training box nothing is predicted.
        boxes, scores, labels = [np.zeros((0, 4))], [np.zeros(0)], [np.zeros(0, dtype=int)]
        for label in np.unique(known[:, 4]).astype(int):
            chosen, score = choose_boxes(known[known[:, 4] == label, :4], self.max_predictions)
            boxes.append(chosen)
            scores.append(score)
            labels.append(np.full(len(score), label))
        all_boxes, all_scores, all_labels = (np.concatenate(parts) for parts in (boxes, scores, labels))
        images = [
            ImageBoxes(
                all_boxes * _sides(item),
                all_scores,
                all_labels,
                item['truth'].astype(np.float64),
                tuple(item['ori_shape']),
            )
            for item in val
        ]
        return coco_scores(images, val_dataset.metainfo['classes'])


def _sides(info: dict) -> np.ndarray:
    height, width = info['ori_shape']
    return np.array([width, height, width, height], dtype=np.float64)
