"""Losses of an anchor head, as sums over whole-batch normalizers.

Shape letters: L levels, A anchors, H W map, O outputs, K classes, G boxes of the batch, N positives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmopt.models.detection.head import AnchorHead
from mmopt.ops.anchor_boxes import Positives, assign_anchors, decode_boxes
from mmopt.ops.boxes import paired_ciou, paired_giou
from mmopt.structures import DataSample
from mmopt.utils.transfer import send

__all__ = [
    'BOX_PREPROCESSOR',
    'IOU_LOSSES',
    'BatchBoxes',
    'box_losses',
    'collect_boxes',
    'find_positives',
    'send_boxes',
]

BOX_PREPROCESSOR = dict(type='mmopt.DevicePreprocessor', host_fields=('boxes', 'labels'))
"""Config of what moves a batch to the device: boxes stay on the host, where :func:`find_positives` reads them."""

IOU_LOSSES = dict(ciou=paired_ciou, giou=paired_giou)


@dataclass(frozen=True)
class BatchBoxes:
    """Ground truth of a batch.

    Attributes:
        boxes_G4: float32, pixels of the network's input.
        labels_G: int64.
        sample_G: int64, index of the sample in the batch.
        size: Height and width of the network's input.
    """

    boxes_G4: Tensor
    labels_G: Tensor
    sample_G: Tensor
    size: tuple[int, int]


def collect_boxes(data_samples: Sequence[DataSample]) -> BatchBoxes:
    """Join the boxes of all samples, on the host; those that lie on a device are read back.

    Args:
        data_samples: Samples with ``boxes`` (G, 4), ``labels`` (G,) and ``img_shape``.

    Returns:
        The boxes.

    Raises:
        ValueError: If the images of the batch differ in size.
    """
    sizes = {tuple(sample.img_shape) for sample in data_samples}
    if len(sizes) != 1:
        raise ValueError(f'Images of a batch must have one size, got {sorted(sizes)}: end the pipeline with Letterbox.')
    counts = torch.tensor([len(sample.boxes) for sample in data_samples])
    return BatchBoxes(
        boxes_G4=torch.cat([sample.boxes.cpu().float() for sample in data_samples]),
        labels_G=torch.cat([sample.labels.cpu().long() for sample in data_samples]),
        sample_G=torch.arange(len(counts)).repeat_interleave(counts),
        size=sizes.pop(),
    )


def find_positives(head: AnchorHead, truth: BatchBoxes, max_ratio: float) -> list[Positives]:
    """Return the positives of every level, on the host: how many there are decides about the sizes of tensors."""
    height, width = truth.size
    return [
        assign_anchors(truth.boxes_G4, torch.tensor(anchors), stride, (height // stride, width // stride), max_ratio)
        for anchors, stride in zip(head.anchors, head.strides, strict=True)
    ]


def send_boxes(
    truth: BatchBoxes, positives: Sequence[Positives], device: torch.device
) -> tuple[BatchBoxes, list[Positives]]:
    """Copy boxes and positives to a device, at once and without waiting."""
    indices = [index_N for level in positives for index_N in level]
    boxes_G4, labels_G, sample_G, *indices = send((truth.boxes_G4, truth.labels_G, truth.sample_G, *indices), device)
    width = len(Positives._fields)
    moved = [Positives(*indices[start : start + width]) for start in range(0, len(indices), width)]
    return BatchBoxes(boxes_G4, labels_G, sample_G, truth.size), moved


def box_losses(
    head: AnchorHead,
    outputs: Sequence[Tensor],
    truth: BatchBoxes,
    positives: Sequence[Positives],
    normalizers: dict[str, Tensor],
    *,
    iou_loss: str,
    level_weights: Sequence[float],
) -> dict[str, Tensor]:
    """Return box, objectness and class loss, unweighted; each level is averaged and the levels are added.

    The target of the objectness is the IoU loss's own overlap (clamped at 0, without gradient), the best one where
    several boxes meet in one anchor.

    Args:
        head: The head that made the outputs.
        outputs: Raw outputs per level.
        truth: Boxes of the samples.
        positives: Of every level, where the outputs are.
        normalizers: ``positives`` (L,) and ``samples`` of the whole batch.
        iou_loss: A key of :data:`IOU_LOSSES`.
        level_weights: Weight of each level's objectness.

    Returns:
        ``box``, ``objectness`` and ``class``.
    """
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    total_box = total_objectness = total_class = outputs[0].new_zeros(())
    for level, (raw_BAHWO, found) in enumerate(zip(outputs, positives, strict=True)):
        sample_N = truth.sample_G[found.box_N]
        place = (sample_N, found.anchor_N, found.row_N, found.column_N)
        raw_NO = raw_BAHWO[place]
        cells_N2 = torch.stack((found.column_N, found.row_N), dim=-1)
        boxes_N4 = decode_boxes(raw_NO[:, :4], head.anchors_LA2[level][found.anchor_N], cells_N2, head.strides[level])
        iou_N = IOU_LOSSES[iou_loss](boxes_N4, truth.boxes_G4[found.box_N])
        objectness_BAHW = torch.zeros_like(raw_BAHWO[..., 4])
        flat_N = torch.zeros_like(sample_N)
        for index_N, length in zip(place, objectness_BAHW.shape, strict=True):
            flat_N = flat_N * length + index_N
        # The maximum does not depend on the order in which a device writes.
        target = objectness_BAHW.flatten().scatter_reduce(0, flat_N, iou_N.detach().clamp(min=0), 'amax')
        cells = objectness_BAHW[0].numel() * normalizers['samples']
        objectness = bce(raw_BAHWO[..., 4].flatten(), target, reduction='sum') / cells
        one_hot_NK = torch.nn.functional.one_hot(truth.labels_G[found.box_N], head.num_classes).float()
        count = normalizers['positives'][level]
        total_box = total_box + (1 - iou_N).sum() / count
        total_objectness = total_objectness + level_weights[level] * objectness
        total_class = total_class + bce(raw_NO[:, 5:], one_hot_NK, reduction='sum') / (count * head.num_classes)
    return {'box': total_box, 'objectness': total_objectness, 'class': total_class}
