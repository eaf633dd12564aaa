"""Greedy non-maximum suppression in plain PyTorch, for boxes and for anything else with an overlap.

torchvision's kernel does the same, but its wheel does not import beside every build of torch.

Shape letters: N predictions.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmopt.ops.boxes import box_iou

__all__ = ['box_nms', 'keep_greedily', 'nms']

# Predictions that are judged at once, and those that stay with which they are compared at once: on a CPU the fastest of
# 128 to 1024, since what that makes stays in its cache. Elsewhere each step costs the same few launches: fewer steps.
_BLOCK, _BLOCK_OF_A_GPU = 256, 2048


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
    group_N = None if groups_N is None else groups_N[order_N]
    # Block by block, best first: what stays is compared with the next block only, so neither time nor memory grows with
    # the square of the predictions unless nearly all of them stay.
    kept_K = order_N[:0]
    block = _BLOCK if order_N.device.type == 'cpu' else _BLOCK_OF_A_GPU
    for block_B in torch.arange(len(order_N), device=order_N.device).split(block):
        for first in range(0, len(kept_K), block):
            better_K = kept_K[first : first + block]
            overlaps_KB = _overlaps(sorted_NX, group_N, better_K, block_B, overlap)
            block_B = block_B[~(overlaps_KB.amax(dim=0) > threshold)]
        suppress_BB = _overlaps(sorted_NX, group_N, block_B, block_B, overlap) > threshold
        kept_K = torch.cat([kept_K, block_B[keep_greedily(suppress_BB.triu(diagonal=1))]])
    return order_N[kept_K]


def _overlaps(
    shapes_NX: Tensor,
    group_N: Tensor | None,
    better_K: Tensor,
    worse_B: Tensor,
    overlap: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return the overlaps (K, B) of the better ones (indices) with the worse ones, -inf across groups."""
    overlaps_KB = overlap(shapes_NX[better_K], shapes_NX[worse_B])
    if group_N is None:
        return overlaps_KB
    return overlaps_KB.masked_fill(group_N[better_K][:, None] != group_N[worse_B], -torch.inf)


def box_nms(boxes_N4: Tensor, scores_N: Tensor, threshold: float, groups_N: Tensor | None = None) -> Tensor:
    """Suppress boxes (x1, y1, x2, y2) by their IoU; see :func:`nms`."""
    return nms(boxes_N4, scores_N, threshold, groups_N, box_iou)
