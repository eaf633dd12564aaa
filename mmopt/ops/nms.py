"""Greedy non-maximum suppression in plain PyTorch, for boxes and for anything else with an overlap.

torchvision's kernel does the same, but its wheel does not import beside every build of torch.

Shape letters: N predictions.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmopt.ops.boxes import box_iou

__all__ = ['box_nms', 'keep_greedily', 'nms']


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


def nms(
    shapes_NX: Tensor,
    scores_N: Tensor,
    threshold: float,
    groups_N: Tensor | None,
    overlap: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Suppress what overlaps something better that stays.

    Args:
        shapes_NX: Boxes, segments, or what else ``overlap`` takes.
        scores_N: Scores; among equals the earlier comes first.
        threshold: A prediction is dropped when its overlap with a better one is larger.
        groups_N: int; only predictions of one group (class) suppress each other. None: all are one group.
        overlap: Maps (N, X) and (M, X) to the overlaps (N, M).

    Returns:
        Indices of the predictions that stay, best first.
    """
    order_N = scores_N.argsort(descending=True, stable=True)
    sorted_NX = shapes_NX[order_N].float()
    suppress_NN = (overlap(sorted_NX, sorted_NX) > threshold).triu(diagonal=1)
    if groups_N is not None:
        group_N = groups_N[order_N]
        suppress_NN &= group_N[:, None] == group_N
    return order_N[keep_greedily(suppress_NN)]


def box_nms(boxes_N4: Tensor, scores_N: Tensor, threshold: float, groups_N: Tensor | None = None) -> Tensor:
    """Suppress boxes (x1, y1, x2, y2) by their IoU; see :func:`nms`."""
    return nms(boxes_N4, scores_N, threshold, groups_N, box_iou)
