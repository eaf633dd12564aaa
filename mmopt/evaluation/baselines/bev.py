"""The best prediction without looking at the image: what a network has to beat to have learned anything.

Every cell and class has a frequency over the training split. A cell is predicted where it reaches a threshold, one per
class: the one with the highest IoU on the training split itself.

Shape letters: N images, Z X grid cells, M = Z * X, P classes.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmopt.evaluation.bev.iou import NUSCENES_CLASSES
from mmopt.ops.bev_labels import IGNORE_BIT
from mmopt.registry import FUNCTIONS
from mmopt.utils.errors import DataError

__all__ = ['bev_image_blind', 'input_blind_iou', 'input_blind_prediction']


def input_blind_prediction(train_bits_NZX: np.ndarray) -> np.ndarray:
    """Find the one map that is predicted for every image.

    Args:
        train_bits_NZX: Label images of the training split, as on disk.

    Returns:
        bool (P, Z, X).
    """
    valid_NZX = train_bits_NZX >> IGNORE_BIT & 1 == 0
    valid_M = valid_NZX.sum(0).ravel()
    prediction = np.zeros((IGNORE_BIT, *train_bits_NZX.shape[1:]), bool)
    for index in range(IGNORE_BIT):
        positive_M = ((train_bits_NZX >> index & 1 == 1) & valid_NZX).sum(0).ravel()
        # A cell that never counted has no frequency and is not predicted.
        frequency_M = np.where(valid_M > 0, positive_M / np.maximum(valid_M, 1), 0.0)
        order = np.argsort(-frequency_M, kind='stable')
        # Predicting the first k cells: tp grows by their positives; tp + fp is all that count there.
        tp, predicted = np.cumsum(positive_M[order]), np.cumsum(valid_M[order])
        iou = tp / np.maximum(predicted + positive_M.sum() - tp, 1)
        # A threshold takes all cells of one frequency or none.
        sorted_frequency = frequency_M[order]
        iou[:-1][sorted_frequency[:-1] == sorted_frequency[1:]] = -1.0
        best = int(iou.argmax())
        if sorted_frequency[best] > 0:
            prediction[index] = (frequency_M >= sorted_frequency[best]).reshape(prediction.shape[1:])
    return prediction


def input_blind_iou(
    train_bits_NZX: np.ndarray, val_bits_NZX: np.ndarray, classes: Sequence[str] = NUSCENES_CLASSES
) -> dict[str, float]:
    """Score the best prediction without the image, as :class:`mmopt.evaluation.BEVIoU` scores a network.

    Args:
        train_bits_NZX: Label images of the training split, as on disk.
        val_bits_NZX: Those of the validation split.
        classes: Names in the order of the bits.

    Returns:
        ``mIoU`` over the classes that occur in the validation split, and ``IoU.<class>`` of each.
    """
    valid_NZX = val_bits_NZX >> IGNORE_BIT & 1 == 0
    ious = {}
    for index, prediction_ZX in enumerate(input_blind_prediction(train_bits_NZX)):
        truth_NZX = (val_bits_NZX >> index & 1 == 1) & valid_NZX
        if truth_NZX.any():
            predicted_NZX = prediction_ZX & valid_NZX
            union = np.count_nonzero(truth_NZX | predicted_NZX)
            ious[f'IoU.{classes[index]}'] = float(np.count_nonzero(truth_NZX & predicted_NZX) / union)
    return dict(mIoU=float(np.mean(list(ious.values()))) if ious else 0.0, **ious)


@FUNCTIONS.register_module()
def bev_image_blind(train_dataset: Any, val_dataset: Any) -> dict[str, float]:
    """Score two data sets of the BEV task: a baseline for the config key ``expect``.

    Args:
        train_dataset: Data set whose samples have a ``label_path``.
        val_dataset: Another one.

    Returns:
        As :func:`input_blind_iou`.
    """
    train, val = (_read_labels(dataset) for dataset in (train_dataset, val_dataset))
    return input_blind_iou(train, val, val_dataset.metainfo.get('classes', NUSCENES_CLASSES))


def _read_labels(dataset: Any) -> np.ndarray:
    labels = []
    for index in range(len(dataset)):
        path = dataset.get_data_info(index)['label_path']
        label_ZX = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        if label_ZX is None:
            raise DataError(f'{path}: not readable as an image.')
        labels.append(label_ZX)
    return np.stack(labels)
