"""Greedy non-maximum suppression in plain PyTorch, for boxes and for anything else with an overlap.

torchvision's kernel does the same, but its wheel does not import beside every build of torch.

Shape letters: N predictions.
"""

import torch
from torch import Tensor

from mmopt.ops.boxes import box_iou

__all__ = ['box_nms', 'keep_greedily']


def keep_greedily(suppress_NN: Tensor) -> Tensor:
    """Tell which predictions stay when a prediction is dropped by a better one that stays.

    The rule is applied to all at once until nothing changes: the result is the greedy one, after as many rounds as the
    longest chain of suppressions (two or three).

    Args:
        suppress_NN: bool, strictly upper triangular, predictions ordered from the best to the worst: whether the row
            drops the column.

    Returns:
        bool (N,).
    """
    stays_N = torch.ones(len(suppress_NN), dtype=torch.bool, device=suppress_NN.device)
    while True:
        next_N = ~(suppress_NN & stays_N[:, None]).any(dim=0)
        if torch.equal(next_N, stays_N):
            return stays_N
        stays_N = next_N


def box_nms(boxes_N4: Tensor, scores_N: Tensor, threshold: float, groups_N: Tensor | None = None) -> Tensor:
    """Suppress boxes that overlap a better one.

    Args:
        boxes_N4: Boxes (x1, y1, x2, y2).
        scores_N: Scores; among equals the earlier comes first.
        threshold: A box is dropped when its IoU with a better one is larger.
        groups_N: int; only boxes of one group (class) suppress each other. None: all are one group.

    Returns:
        Indices of the boxes that stay, best first.
    """
    order_N = scores_N.argsort(descending=True, stable=True)
    sorted_N4 = boxes_N4[order_N].float()
    suppress_NN = (box_iou(sorted_N4, sorted_N4) > threshold).triu(diagonal=1)
    if groups_N is not None:
        group_N = groups_N[order_N]
        suppress_NN &= group_N[:, None] == group_N
    return order_N[keep_greedily(suppress_NN)]
