"""Intersection over union of bird's-eye-view maps: over the data set, per image and class, per image.

Shape letters: P classes, Z X grid cells.
"""

import logging
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

from mmopt.ops.bev_labels import IGNORE_BIT, decode_label_bits
from mmopt.registry import METRICS
from mmopt.utils.mps import to_float64

__all__ = ['BEVIoU', 'NUSCENES_CLASSES', 'count_confusion']

NUSCENES_CLASSES = (
    'drivable_area', 'ped_crossing', 'walkway', 'carpark', 'car', 'truck', 'bus', 'trailer', 'construction_vehicle',
    'pedestrian', 'motorcycle', 'bicycle', 'traffic_cone', 'barrier',
)  # fmt: skip


def count_confusion(pred_bits_ZX: Tensor, label_bits_ZX: Tensor) -> Tensor:
    """Count true positives, false positives and false negatives of every class over the cells that count.

    Args:
        pred_bits_ZX: Predicted maps, packed as :func:`mmopt.ops.bev_labels.encode_label_bits` does.
        label_bits_ZX: The label image.

    Returns:
        int64 counts ``(3, P)``, P = 14.
    """
    maps = decode_label_bits(label_bits_ZX)
    label, valid = maps[:IGNORE_BIT], maps[IGNORE_BIT]
    pred = decode_label_bits(pred_bits_ZX.to(label_bits_ZX.device))[:IGNORE_BIT] & valid
    label = label & valid
    return torch.stack([(pred & label).sum((1, 2)), (pred & ~label).sum((1, 2)), (label & ~pred).sum((1, 2))])


@METRICS.register_module()
class BEVIoU:
    """Three readings of IoU = tp / (tp + fp + fn), counted where a cell counts.

    ============ =====================================================================================
    ``mIoU``     counts summed over the data set, mean over classes; ``IoU.<class>`` are its parts
    ``mIoUv1``   per image and class, averaged over the images that have the class, then over classes
    ``mIoUv2``   per image with the counts of all classes pooled, averaged over images
    ============ =====================================================================================

    A class without one labeled cell in the data set is left out of the means and named in the log. DiffBEV's evaluation
    counts it as 0 where it was predicted anywhere, and leaves it out where it was not: ``absent_classes='zero'``. Only
    counters are kept, whatever the size of the data set, and summed over ranks at the end.

    Args:
        classes: Names, in the order of the label bits; by default those of the data set, else nuScenes'.
        prefix: Put before every key, with a slash.
        absent_classes: What a class that is predicted and never labeled counts in ``mIoU``: ``'ignore'`` leaves it out,
            ``'zero'`` counts 0.

    Raises:
        ValueError: If ``absent_classes`` is neither.
    """

    metric_keys = ('mIoU', 'mIoUv1', 'mIoUv2', 'IoU.*')
    """Names of the metrics without the prefix; ``*`` stands for a class."""

    def __init__(
        self, classes: Sequence[str] | None = None, prefix: str | None = None, absent_classes: str = 'ignore'
    ) -> None:
        if absent_classes not in ('ignore', 'zero'):
            raise ValueError(f"absent_classes must be 'ignore' or 'zero', got {absent_classes!r}.")
        self.absent_classes = absent_classes
        self.classes = tuple(classes) if classes else None
        self.prefix = prefix
        self.dataset_meta: dict | None = None  # the evaluator sets it
        self._reset()

    def _reset(self) -> None:
        P = IGNORE_BIT
        # One vector, so that ranks exchange one message: tp fp fn, then sum and number of IoUs per image and class,
        # then sum and number of IoUs per image. float64 counts exactly to 2^53.
        self._counters = torch.zeros(5 * P + 2, dtype=torch.float64)

    def process(self, data_batch: dict, data_samples: Sequence) -> None:
        """Count one batch.

        Args:
            data_batch: The batch; labels are read from ``data_samples``, which carry them.
            data_samples: Samples (or their dicts) with ``pred_bits`` and ``label_bits``.
        """
        del data_batch  # MMEngine's signature
        for sample in data_samples:
            counts_3P = to_float64(count_confusion(sample.get('pred_bits'), sample.get('label_bits')))
            tp, fp, fn = counts_3P
            present = tp + fn > 0
            iou_P = torch.where(present, tp / (tp + fp + fn).clamp(min=1), 0.0)
            pooled_tp, pooled_all = tp.sum(), counts_3P.sum()
            has_any = (pooled_all > 0).to(counts_3P)
            pooled_2 = torch.stack((pooled_tp / pooled_all.clamp(min=1), has_any))
            update = torch.cat((counts_3P.flatten(), iou_P, present.to(counts_3P), pooled_2))
            # On the device: reading each sample's counts would wait for the model.
            self._counters = self._counters.to(update.device) + update

    def evaluate(self, size: int) -> dict[str, float]:
        """Reduce the counters over ranks, compute the metrics and start anew.

        Args:
            size: Samples in the data set, for the log.

        Returns:
            Metrics by name.
        """
        all_reduce(self._counters)
        counters = self._counters.cpu()
        self._reset()
        metrics = self.compute_metrics(counters)
        if not counters.any():
            print_log(
                f'BEVIoU: none of {size} samples has a labeled or predicted cell that counts.',
                'current',
                logging.WARNING,
            )
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in metrics.items()}

    def compute_metrics(self, results: Tensor) -> dict[str, float]:
        """Turn counters into metrics.

        Args:
            results: The counters of all ranks.

        Returns:
            Metrics by name; all zero where nothing was counted.
        """
        P = IGNORE_BIT
        counts, v1, v2 = results[: 3 * P].view(3, P), results[3 * P : 5 * P].view(2, P), results[5 * P :]
        names = self.classes or (self.dataset_meta or {}).get('classes') or NUSCENES_CLASSES
        tp, fp, fn = counts
        occurs = tp + fn > 0
        iou_P = tp / (tp + fp + fn).clamp(min=1)
        metrics = dict(
            mIoU=_mean(iou_P[occurs if self.absent_classes == 'ignore' else occurs | (fp > 0)]),
            mIoUv1=_mean((v1[0] / v1[1].clamp(min=1))[occurs]),
            mIoUv2=float(v2[0] / v2[1].clamp(min=1)),
        )
        metrics |= {f'IoU.{name}': float(iou_P[index]) for index, name in enumerate(names) if occurs[index]}
        absent = [name for index, name in enumerate(names) if not occurs[index]]
        if absent:
            treated = 'left out of mIoU' if self.absent_classes == 'ignore' else '0 in mIoU where predicted, left out'
            print_log(f'BEVIoU: no labeled cell of {", ".join(absent)}: {treated} of mIoUv1.', 'current')
        return metrics


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0
