"""What segmentation reaches without looking at the image: at every place the class that is most frequent there.

Shape letters: K classes, H W label.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch

from mmopt.evaluation.segmentation.iou import confusion_matrix, segmentation_scores
from mmopt.registry import FUNCTIONS
from mmopt.structures.pixel_labels import label_type

__all__ = ['majority_map']


@FUNCTIONS.register_module()
def majority_map(train_dataset: Any, val_dataset: Any) -> dict[str, float]:
    """Predict one label for every image: a baseline for the config key ``expect``.

    Labels of other sizes than the first one's count at their relative place.

    Args:
        train_dataset: Data set with ``read_label``, which takes what ``get_data_info`` returns.
        val_dataset: Another one.

    Returns:
        ``mIoU``, ``fwIoU``, ``F1``, ``aAcc`` and ``IoU.<class>``, as :class:`mmopt.evaluation.SegmentationIoU` scores a
        network.

    Raises:
        DataError: If a label is not readable.
    """
    classes = val_dataset.metainfo['classes']
    votes_KHW: np.ndarray | None = None
    for label_HW in _labels(train_dataset):
        if votes_KHW is None:
            votes_KHW = np.zeros((len(classes), *label_HW.shape), np.int32)
        label_HW = _fit(label_HW, votes_KHW.shape[1:])
        for index in np.unique(label_HW[label_HW < len(classes)]):
            votes_KHW[index] += label_HW == index
    assert votes_KHW is not None, 'nobody trains on no image'
    map_HW = votes_KHW.argmax(axis=0).astype(label_type(len(classes)))
    confusion_KK = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    for label_HW in _labels(val_dataset):
        pred_HW = _fit(map_HW, label_HW.shape)
        confusion_KK += confusion_matrix(torch.from_numpy(pred_HW), torch.from_numpy(label_HW), len(classes))
    scores, iou_K, occurs_K = segmentation_scores(confusion_KK)
    return scores | {f'IoU.{name}': float(iou_K[index]) for index, name in enumerate(classes) if occurs_K[index]}


def _fit(label_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if label_HW.shape == tuple(size):
        return label_HW
    return cv2.resize(label_HW, size[::-1], interpolation=cv2.INTER_NEAREST)


def _labels(dataset: Any) -> Iterator[np.ndarray]:
    for index in range(len(dataset)):
        yield dataset.read_label(dataset.get_data_info(index))
