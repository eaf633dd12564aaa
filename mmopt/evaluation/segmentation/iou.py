"""Overlap of predicted and true classes, over all pixels and on the band around class borders.

Shape letters: K classes, H W label.
"""

import logging
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

from mmopt.evaluation.class_names import class_names
from mmopt.registry import METRICS
from mmopt.structures.pixel_labels import ignored_label
from mmopt.utils.mps import to_float64

__all__ = ['SegmentationIoU', 'confusion_matrix', 'segmentation_scores']

_EDGE_MASK = 0b01  # bit 0 of a region map: the band around borders


def confusion_matrix(pred: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        pred: Classes of the pixels that count, any integer type.
        label: True classes, same shape, all below ``num_classes``; others are left out.
        num_classes: Classes K.

    Returns:
        int64 (K, K), rows are true classes.
    """
    # Pixels that do not count go into a last bin: choosing them out would copy all others.
    bins = torch.where(label < num_classes, label.long() * num_classes + pred.long(), num_classes**2)
    return torch.bincount(bins.flatten(), minlength=num_classes**2 + 1)[:-1].view(num_classes, num_classes)


def segmentation_scores(confusion_KK: Tensor) -> tuple[dict[str, float], Tensor, Tensor]:
    """Turn a confusion matrix into scores.

    Args:
        confusion_KK: Rows are true classes.

    Returns:
        ``mIoU``, ``fwIoU`` (weighted by the classes' true pixels), ``F1`` (mean over classes), ``aAcc``; the IoU of
        each class; which classes occur in the labels. Means are over those that occur.
    """
    counts = to_float64(confusion_KK)
    tp, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    occurs = true > 0
    iou_K = tp / (true + predicted - tp).clamp(min=1)
    f1_K = 2 * tp / (true + predicted).clamp(min=1)
    total = counts.sum().clamp(min=1)
    scores = dict(
        mIoU=_mean(iou_K[occurs]),
        fwIoU=float((true / total * iou_K).sum()),
        F1=_mean(f1_K[occurs]),
        aAcc=float(tp.sum() / total),
    )
    return scores, iou_K, occurs


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0


@METRICS.register_module()
class SegmentationIoU:
    """mIoU, fwIoU, F1 and pixel accuracy of a data set; mIoU and F1 of the band around class borders.

    Two confusion matrices are kept and summed over ranks at the end, whatever the size of the data set. Edge scores
    come where samples carry ``regions`` (:class:`~mmopt.datasets.segmentation.BoundaryRegions` in the pipeline).
    Classes without one labeled pixel in the data set are left out of the means and named in the log.

    Args:
        classes: Names; by default those of the data set.
        prefix: Put before every key, with a slash.
    """

    metric_keys = ('mIoU', 'fwIoU', 'F1', 'aAcc', 'edge_mIoU', 'edge_F1', 'IoU.*')
    """Names of the metrics without the prefix; ``*`` stands for a class."""

    def __init__(self, classes: Sequence[str] | None = None, prefix: str | None = None) -> None:
        self.classes = tuple(classes) if classes else None
        self.prefix = prefix
        self.dataset_meta: dict | None = None  # the evaluator sets it
        self._counts: Tensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The class names.

        Raises:
            ValueError: If neither the metric nor the data set has any.
        """
        return tuple(self.classes or class_names(self))

    def process(self, data_batch: dict, data_samples: Sequence) -> None:
        """Count one batch.

        Args:
            data_batch: The batch; labels are read from ``data_samples``, which carry them.
            data_samples: Samples (or their dicts) with ``pred_label`` and ``label``, and ``regions`` for edge scores.
        """
        del data_batch  # MMEngine's signature
        num_classes = len(self.names)
        for sample in data_samples:
            pred, label, regions = sample.get('pred_label'), sample.get('label'), sample.get('regions')
            if pred.shape != label.shape:
                raise ValueError(
                    f'SegmentationIoU: the prediction is {tuple(pred.shape)}, the label {tuple(label.shape)}: labels '
                    'must keep the size of the image on disk (no Resize of the label in the test pipeline).'
                )
            label = label.to(pred.device)
            counts = [confusion_matrix(pred, label, num_classes)]
            if regions is None:
                counts.append(torch.zeros_like(counts[0]))
            else:
                on_edge = (regions.to(pred.device) & _EDGE_MASK).bool()
                counts.append(
                    confusion_matrix(pred, torch.where(on_edge, label, ignored_label(label.dtype)), num_classes)
                )
            update = torch.stack(counts)
            self._counts = update if self._counts is None else self._counts.to(update.device) + update

    def evaluate(self, size: int) -> dict[str, float]:
        """Reduce the counts over ranks, compute the metrics and start anew.

        Args:
            size: Samples in the data set, for the log.

        Returns:
            Metrics by name: those of :func:`segmentation_scores`, ``edge_mIoU`` and ``edge_F1`` where there are edges,
            and ``IoU.<class>``.
        """
        num_classes = len(self.names)
        counts = self._counts
        self._counts = None
        if counts is None:
            counts = torch.zeros(2, num_classes, num_classes, dtype=torch.int64)
        all_reduce(counts)
        whole, edge = counts.cpu()
        scores, iou_K, occurs = segmentation_scores(whole)
        if edge.any():
            edge_scores, _, _ = segmentation_scores(edge)
            scores |= dict(edge_mIoU=edge_scores['mIoU'], edge_F1=edge_scores['F1'])
        scores |= {f'IoU.{name}': float(iou_K[index]) for index, name in enumerate(self.names) if occurs[index]}
        absent = [name for index, name in enumerate(self.names) if not occurs[index]]
        if not occurs.any():
            print_log(f'SegmentationIoU: none of {size} samples has a labeled pixel.', 'current', logging.WARNING)
        elif absent:
            print_log(f'SegmentationIoU: no labeled pixel of {", ".join(absent)}: left out of the means.', 'current')
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in scores.items()}
