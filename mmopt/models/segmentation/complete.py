"""A segmentor as one graph, from images to classes.

Shape letters: B batch, K classes, H W image, h w file.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.segmentation.inference import average_probabilities
from mmopt.structures import DataSample
from mmopt.structures.complete_graph import CompleteGraph, preprocess
from mmopt.structures.pixel_labels import label_type

if TYPE_CHECKING:
    from mmopt.models.segmentation.segmentor import BoundarySegmentor

__all__ = ['complete_segmentor']


def complete_segmentor(segmentor: 'BoundarySegmentor', data_samples: Sequence[DataSample]) -> CompleteGraph:
    """Return a segmentor from uint8 images to classes, with the sizes and mirror images of its evaluation.

    Images may have any size, unless sliding windows or the rounds of a point head depend on it. Where the pipeline
    resizes, the size of the file is an input.

    Args:
        segmentor: The segmentor, whose weights are shared.
        data_samples: Samples of the test set.

    Returns:
        The graph.
    """
    resizes = any('ori_shape' in sample and sample.ori_shape != sample.img_shape for sample in data_samples)
    divisor = getattr(segmentor.data_preprocessor, 'pad_size_divisor', 1)
    any_size = segmentor.eval_options['window'] is None and segmentor.point_head is None and divisor == 1
    axes: dict[str, Mapping[int, str]] = dict(inputs={2: 'height', 3: 'width'}) if any_size else {}
    return CompleteGraph(
        _SegmentationGraph(segmentor),
        fields=('ori_shape',) if resizes else (),
        axes=axes,
        units=dict(pred_label='class number of every pixel' + (' of the file' if resizes else '')),
    )


class _SegmentationGraph(nn.Module):
    def __init__(self, segmentor: 'BoundarySegmentor') -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, inputs: Tensor, size_B2: Tensor | None = None) -> dict[str, Tensor]:
        """Return the class of every pixel, (B, H, W), or (B, h, w) where the size of the files is given."""
        segmentor = self.segmentor
        images = preprocess(segmentor, inputs)
        probability_BKHW = average_probabilities(segmentor, images, **segmentor.eval_options)
        height, width = inputs.shape[-2:]
        if images.shape[-2:] != inputs.shape[-2:]:  # padding is cut off
            probability_BKHW = probability_BKHW[..., :height, :width]
        if size_B2 is not None:
            rows, columns = size_B2[0].tolist()
            for length in (rows, columns):
                torch._check(length >= 1)
                torch._check(length <= 1 << 16)
            probability_BKHW = F.interpolate(probability_BKHW, (rows, columns), mode='bilinear', align_corners=False)
        dtype = getattr(torch, label_type(segmentor.num_classes))
        return dict(pred_label=probability_BKHW.argmax(dim=1).to(dtype))
