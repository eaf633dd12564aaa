"""Anchor head: 1x1 convolutions in float32, and the decoding of their outputs.

Shape letters: B batch, C channels, H W map, L levels, A anchors of a level, K classes, O = 5 + K outputs
(x, y, w, h, objectness, classes), N predictions of an image.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.ops.anchor_boxes import decode_boxes
from mmopt.registry import MODELS

__all__ = ['YOLOV5_ANCHORS', 'AnchorHead']

YOLOV5_ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Widths and heights in pixels, per level, fitted to COCO at 640 pixels."""

_OBJECTS_PER_LEVEL = 8
"""Positives of a level in an image of 640 x 640 that training starts from: a prior as of focal loss, section 4.1 of
https://arxiv.org/abs/1708.02002."""


@MODELS.register_module()
class AnchorHead(BaseModule):
    """Predict a box, an objectness and class scores per anchor and cell.

    Args:
        in_channels: Channels of each level.
        num_classes: Classes K.
        anchors: Widths and heights in pixels of the network's input, per level, finest first.
        strides: Pixels per cell of each level.

    Raises:
        ValueError: If levels disagree in number, or in their number of anchors.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        anchors: Sequence[Sequence[tuple[float, float]]] = YOLOV5_ANCHORS,
        strides: Sequence[int] = (8, 16, 32),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not len(in_channels) == len(anchors) == len(strides) or len({len(level) for level in anchors}) != 1:
            raise ValueError(
                f'AnchorHead: in_channels has {len(in_channels)} levels, strides {len(strides)}, and anchors '
                f'{[len(level) for level in anchors]} per level; one entry per level, equally many anchors in each.'
            )
        self.num_classes = num_classes
        self.strides = tuple(strides)
        # For the host, which would have to read the buffer back from a device.
        self.anchors = tuple(tuple((float(width), float(height)) for width, height in level) for level in anchors)
        # Not persistent: anchors are the config's, and weights of others load all the same.
        self.register_buffer('anchors_LA2', torch.tensor(anchors, dtype=torch.float32), persistent=False)
        num_anchors = self.anchors_LA2.shape[1]
        convs = [nn.Conv2d(wide, num_anchors * (5 + num_classes), 1) for wide in in_channels]
        self.convs = nn.ModuleList(convs)
        for conv, stride in zip(convs, self.strides, strict=True):
            assert conv.bias is not None
            bias_AO = conv.bias.detach().view(num_anchors, -1)
            # So that the many negatives do not rule the first iterations.
            bias_AO[:, 4] = math.log(_OBJECTS_PER_LEVEL / (640 / stride) ** 2)
            bias_AO[:, 5:] = -math.log(num_classes)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the raw outputs of each level, float32 (B, A, H, W, O)."""
        outputs = []
        for conv, map_BCHW in zip(self.convs, maps, strict=True):
            # Half precision moves small boxes: 1 part in 1000 of a coordinate near 640 is half a pixel.
            with torch.autocast(map_BCHW.device.type, enabled=False):
                raw_BCHW = conv(map_BCHW.float())
            outputs.append(raw_BCHW.unflatten(1, (self.anchors_LA2.shape[1], -1)).movedim(2, -1))
        return outputs

    def decode(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Decode all cells of all levels.

        Args:
            outputs: From :meth:`forward`.

        Returns:
            Boxes (B, N, 4) in pixels of the input and scores (B, N, K): objectness times class probability.
        """
        boxes, scores = [], []
        for raw_BAHWO, anchors_A2, stride in zip(outputs, self.anchors_LA2, self.strides, strict=True):
            rows, columns = raw_BAHWO.shape[2:4]
            like: dict[str, Any] = dict(device=raw_BAHWO.device, dtype=raw_BAHWO.dtype)
            cells_HW2 = torch.stack(
                torch.meshgrid(torch.arange(columns, **like), torch.arange(rows, **like), indexing='xy'), dim=-1
            )
            decoded = decode_boxes(raw_BAHWO[..., :4], anchors_A2[:, None, None], cells_HW2, stride)
            boxes.append(decoded.flatten(1, 3))
            score = raw_BAHWO[..., 4:5].sigmoid() * raw_BAHWO[..., 5:].sigmoid()
            scores.append(score.flatten(1, 3))
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
