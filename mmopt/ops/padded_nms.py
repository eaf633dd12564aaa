"""Non-maximum suppression with shapes that do not depend on values: for graphs that leave Python.

:mod:`mmopt.ops.nms` reads values on the host, which no exported graph does. Here a mask says who stays, and results are
padded to one length.

Shape letters: B batch, N predictions, M results.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmopt.ops.boxes import paired_iou
from mmopt.ops.nms import box_nms

__all__ = ['keep_mask', 'top_rows']


@torch.library.custom_op('mmopt::nms_mask', mutates_args=())
def nms_mask(boxes_BN4: Tensor, scores_BN: Tensor, groups_BN: Tensor, num_groups: int, threshold: float) -> Tensor:
    """Tell who stays: what ONNX calls NonMaxSuppression stands for it in a graph, see :mod:`mmopt.apis.export.nms`."""
    del num_groups  # ONNX needs it
    kept_BN = torch.zeros_like(scores_BN, dtype=torch.bool)
    for b, (boxes_N4, scores_N, groups_N) in enumerate(zip(boxes_BN4, scores_BN, groups_BN, strict=True)):
        real_N = (scores_N > 0).nonzero().flatten()
        kept_BN[b, real_N[box_nms(boxes_N4[real_N], scores_N[real_N], threshold, groups_N[real_N])]] = True
    return kept_BN


@nms_mask.register_fake
def _(boxes_BN4: Tensor, scores_BN: Tensor, groups_BN: Tensor, num_groups: int, threshold: float) -> Tensor:
    del boxes_BN4, groups_BN, num_groups, threshold
    return torch.empty_like(scores_BN, dtype=torch.bool)


def keep_mask(boxes_BN4: Tensor, scores_BN: Tensor, groups_BN: Tensor, num_groups: int, threshold: float) -> Tensor:
    """Tell which boxes stay when a box is dropped by a better one of its group that stays and overlaps it more.

    Args:
        boxes_BN4: x1, y1, x2, y2, best first.
        scores_BN: Scores, falling; what has none above 0 takes no part and does not stay.
        groups_BN: int64, below ``num_groups``.
        num_groups: Number of groups.
        threshold: Largest overlap (IoU) of two that stay.

    Returns:
        bool (B, N).
    """
    if torch.onnx.is_in_onnx_export():
        return nms_mask(boxes_BN4, scores_BN, groups_BN, num_groups, threshold)
    overlap_BNN = paired_iou(boxes_BN4[:, :, None], boxes_BN4[:, None])
    drops_BNN = (overlap_BNN > threshold) & (groups_BN[:, :, None] == groups_BN[:, None])
    number_N = torch.arange(boxes_BN4.shape[1], device=boxes_BN4.device)
    drops_BNN = drops_BNN & (number_N[:, None] < number_N)
    real_BN = scores_BN > 0

    # As in mmopt.ops.nms.keep_greedily: the rule is applied to all at once until nothing changes.
    loop = torch.ops.higher_order.while_loop
    first_BN = _next_mask(real_BN, drops_BNN, real_BN)
    return loop(_differs, _step, (real_BN, first_BN), (drops_BNN, real_BN))[1]


def _next_mask(stays_BN: Tensor, drops_BNN: Tensor, real_BN: Tensor) -> Tensor:
    return real_BN & ~(drops_BNN & stays_BN[:, :, None]).any(dim=1)


def _differs(stays_BN: Tensor, next_BN: Tensor, drops_BNN: Tensor, real_BN: Tensor) -> Tensor:
    del drops_BNN, real_BN
    return (stays_BN != next_BN).any()


def _step(stays_BN: Tensor, next_BN: Tensor, drops_BNN: Tensor, real_BN: Tensor) -> tuple[Tensor, Tensor]:
    del stays_BN
    return next_BN.clone(), _next_mask(next_BN, drops_BNN, real_BN)


def top_rows(scores_BN: Tensor, most: int, fields: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Take the best rows, padded to one length.

    Args:
        scores_BN: Scores; rows of 0 and less are no results.
        most: Most results M; fewer where there are fewer rows.
        fields: What to take along, (B, N) or (B, N, X).

    Returns:
        The scores (B, M), 0 behind the last result; the fields, 0 there as well; and the number of results (B,), int64.
    """
    top_BM, index_BM = scores_BN.topk(min(most, scores_BN.shape[1]), dim=1)
    real_BM = top_BM > 0
    taken = []
    for field in fields:
        if field.ndim == 2:
            taken.append(field.gather(1, index_BM) * real_BM)
        else:
            index_BMX = index_BM[..., None].expand(-1, -1, field.shape[2])
            taken.append(field.gather(1, index_BMX) * real_BM[..., None])
    return top_BM * real_BM, *taken, real_BM.sum(dim=1)
