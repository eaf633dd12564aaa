"""A BEV model as one graph, from images and camera matrices to the classes of the ground.

Shape letters: B batch, P classes, Z X grid cells, H W image.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmopt.models.bev.inference import mean_probability
from mmopt.ops.bev_labels import encode_label_bits
from mmopt.ops.lift_splat import make_plan_without_skew
from mmopt.structures import DataSample
from mmopt.structures.complete_graph import CompleteGraph, preprocess

if TYPE_CHECKING:
    from mmopt.models.bev.lss_segmentor import LSSSegmentor

__all__ = ['complete_bev']


def complete_bev(model: 'LSSSegmentor', data_samples: Sequence[DataSample]) -> CompleteGraph:
    """Return a BEV model from uint8 images and camera matrices to packed classes and probabilities.

    Args:
        model: The model, whose weights are shared.
        data_samples: Samples of the test set.

    Returns:
        The graph.

    Raises:
        ValueError: If a camera matrix has skew: the graph of such a model would have another shape.
    """
    if any(torch.as_tensor(sample.intrinsics)[..., 0, 1].any() for sample in data_samples):
        raise ValueError('The camera matrices of the test set have skew (row 0, column 1), which no graph is made for.')
    return CompleteGraph(
        _BEVGraph(model),
        fields=('intrinsics',),
        zeros=dict(intrinsics=(0, 1)),
        units=dict(
            pred_bits='bit c of a cell is class c; row 0 is the nearest, column 0 the leftmost',
            pred_probability='probability of every class',
        ),
    )


class _BEVGraph(nn.Module):
    def __init__(self, model: 'LSSSegmentor') -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, intrinsics_B33: Tensor) -> dict[str, Tensor]:
        """Segment the ground.

        Args:
            inputs: Images (B, 3, H, W).
            intrinsics_B33: Camera matrices of the *resized* images, without skew.

        Returns:
            Packed classes, int32 (B, Z, X), and probabilities (B, P, Z, X).
        """
        model = self.model
        neck = model.neck

        def logits(images: Tensor, cameras_B33: Tensor) -> Tensor:
            plan = make_plan_without_skew(cameras_B33, neck.geometry, neck.camera_height_m)
            return model.head(neck(model.backbone(images), plan).bev_BCZX)

        probability_BPZX = mean_probability(logits, preprocess(model, inputs), intrinsics_B33, flip=model.eval_flip)
        bits_BZX = encode_label_bits(probability_BPZX > model.threshold)
        return dict(pred_bits=bits_BZX, pred_probability=probability_BPZX)
