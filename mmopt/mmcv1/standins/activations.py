"""Layers of torch as they were when code of mmcv 1.x was written."""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ['ReLU']


class ReLU(nn.ReLU):
    """A ReLU whose output may be changed in place: the backward pass needs the input alone.

    Since 1.8 torch keeps the output. Heads of that time add to it (``laterals[i - 1] += ...``: UPerNet), which torch
    refuses in the backward pass today. Values and gradients are those of :class:`torch.nn.ReLU`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Compute; in place where ``inplace`` asks for it."""
        return super().forward(input) if self.inplace else F.threshold(input, 0.0, 0.0)
