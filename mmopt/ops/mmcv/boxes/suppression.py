"""Variants of suppression: scores that decay instead of boxes that go, and which box dropped which.

Paper: Soft-NMS, https://arxiv.org/abs/1704.04503.

Shape letters: N boxes, K of them that stay.
"""

import numpy as np
import torch
from torch import Tensor

from mmopt.ops.mmcv.boxes.overlaps import box_overlaps
from mmopt.ops.nms import nms

__all__ = ['SOFT_NMS_METHODS', 'nms_match', 'soft_nms']

# In the order of the numbers by which mmcv's extension calls them.
SOFT_NMS_METHODS = ('naive', 'linear', 'gaussian')

# Pairs of boxes whose overlaps are computed at once.
_MAX_PAIRS = 1 << 20


def soft_nms(
    boxes_N4: Tensor,
    scores_N: Tensor,
    threshold: float,
    sigma: float,
    min_score: float,
    method: str,
    offset: int,
) -> tuple[Tensor, Tensor]:
    """Pick the best box again and again, and lower the scores of those that it overlaps.

    Each pick depends on the one before it, so that this is a loop over picks on the CPU; each of them treats all boxes
    that are left at once.

    Args:
        boxes_N4: x1, y1, x2, y2.
        scores_N: Among equal ones the order is that of mmcv, which moves the last box to where one goes.
        threshold: Overlap from which ``'naive'`` drops a box and ``'linear'`` lowers its score.
        sigma: Width of the bell by which ``'gaussian'`` lowers all scores.
        min_score: Boxes whose scores fall below go. The best one of all is not asked.
        method: One of :data:`SOFT_NMS_METHODS`.
        offset: See :func:`mmopt.ops.mmcv.boxes.overlaps.box_overlaps`.

    Returns:
        Boxes with scores (K, 5) and their indices (K,), in the order of the picks, on the CPU.
    """
    boxes = boxes_N4.detach().cpu().float().numpy()
    index = np.arange(len(boxes))
    # In the order of the picks, so that what is left is always one piece: x1, y1, x2, y2, area, score.
    state = np.empty((6, len(boxes)), np.float32)
    state[:4], state[5] = boxes.T, scores_N.detach().cpu().float().numpy()
    left, top, right, bottom, area, scores = state
    area[:] = (right - left + offset) * (bottom - top + offset)
    num_left, pick = len(boxes), 0
    while pick < num_left:
        best = pick + int(scores[pick:num_left].argmax())
        for values in (index, state):
            values[..., [pick, best]] = values[..., [best, pick]]
        rest = slice(pick + 1, num_left)
        width = np.minimum(right[pick], right[rest]) - np.maximum(left[pick], left[rest]) + offset
        height = np.minimum(bottom[pick], bottom[rest]) - np.maximum(top[pick], top[rest]) + offset
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = area[pick] + area[rest] - shared
        # Two boxes without area overlap by 0.
        overlap = np.divide(shared, whole, out=np.zeros_like(shared), where=whole != 0)
        if method == 'gaussian':
            scores[rest] *= np.exp(-np.square(overlap) / np.float32(sigma))
        else:
            scores[rest] *= np.where(overlap >= np.float32(threshold), 0 if method == 'naive' else 1 - overlap, 1)
        stays = scores[rest] >= np.float32(min_score)
        pick += 1
        num_stay = int(np.count_nonzero(stays))
        num_left = pick + num_stay
        if num_stay < len(stays):
            holes = pick + np.flatnonzero(~stays[:num_stay])
            movers = num_left + np.flatnonzero(stays[num_stay:])[::-1]
            for values in (index, state):
                values[..., holes] = values[..., movers]
    picked = state[[0, 1, 2, 3, 5], :num_left].T
    return torch.from_numpy(picked.copy()), torch.from_numpy(index[:num_left].copy())


def nms_match(boxes_N4: Tensor, scores_N: Tensor, threshold: float) -> list[list[int]]:
    """Return the indices of the boxes that stay, best first, each followed by those that it dropped, best first.

    A box is dropped by the best one with which its overlap is at least the threshold.
    """
    if not len(boxes_N4):
        return []
    boxes_N4 = boxes_N4.float()
    # At least, where our suppression asks for more: more than the number before it.
    below = torch.tensor(threshold).nextafter(torch.tensor(-torch.inf)).item()
    kept_K = nms(boxes_N4, scores_N, below, None, box_overlaps)
    owner_N = torch.cat(
        [
            (box_overlaps(boxes_N4[kept_K], part) > below).int().argmax(dim=0)
            for part in boxes_N4.split(max(1, _MAX_PAIRS // max(len(kept_K), 1)))
        ]
    )
    # Of a kept box the first that overlaps it may be a worse one that it did not drop: it is its own.
    owner_N[kept_K] = torch.arange(len(kept_K), device=kept_K.device)
    is_kept_N = torch.zeros_like(owner_N, dtype=torch.bool)
    is_kept_N[kept_K] = True
    order_N = scores_N.argsort(descending=True, stable=True)
    order_N = order_N[(~is_kept_N[order_N]).int().argsort(stable=True)]
    order_N = order_N[owner_N[order_N].argsort(stable=True)]
    counts = owner_N.bincount(minlength=len(kept_K)).tolist()
    return [group.tolist() for group in order_N.split(counts)]
