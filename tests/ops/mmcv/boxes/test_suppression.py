"""Soft suppression and groups of suppressed boxes against their loops, box by box."""

import math

import numpy as np
import pytest
import torch

from mmopt.ops.mmcv.boxes.overlaps import box_overlaps
from mmopt.ops.mmcv.boxes.suppression import SOFT_NMS_METHODS, nms_match, soft_nms


def random_boxes(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes on whole pixels, some without area, with many equal scores and overlaps."""
    rng = torch.Generator().manual_seed(seed)
    num = seed % 13
    corners = torch.randint(0, 8, (num, 2), generator=rng)
    boxes = torch.cat([corners, corners + torch.randint(0, 7, (num, 2), generator=rng)], dim=1).float()
    return boxes, torch.randint(0, 8, (num,), generator=rng) / 8


def overlap(one: torch.Tensor, other: torch.Tensor, offset: int = 0) -> np.float32:
    return np.float32(box_overlaps(one[None], other[None], offset=offset).item())


def literal_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    index, scores = list(range(len(boxes))), [np.float32(score) for score in scores.tolist()]
    pick = 0
    while pick < len(index):
        best = max(range(pick, len(index)), key=lambda n: (scores[n], -n))
        index[pick], index[best] = index[best], index[pick]
        scores[pick], scores[best] = scores[best], scores[pick]
        n = pick + 1
        while n < len(index):
            iou = overlap(boxes[index[pick]], boxes[index[n]], offset)
            if method == 'gaussian':
                scores[n] *= np.float32(math.exp(-iou * iou / np.float32(sigma)))
            elif iou >= np.float32(threshold):
                scores[n] *= 0 if method == 'naive' else 1 - iou
            if scores[n] < np.float32(min_score):
                # The last one takes the place, and is looked at next.
                index[n], scores[n] = index[-1], scores[-1]
                index.pop(), scores.pop()
            else:
                n += 1
        pick += 1
    return index, scores


@pytest.mark.parametrize('method', SOFT_NMS_METHODS)
def test_soft_suppression_equals_the_loop_on_200_random_cases(method):
    for seed in range(200):
        boxes, scores = random_boxes(seed)
        kind = dict(threshold=0.3, sigma=0.5, min_score=(0.0, 0.01, 0.3)[seed % 3], method=method, offset=seed % 2)
        index, expected = literal_soft_nms(boxes, scores, **kind)
        picked, kept = soft_nms(boxes, scores, **kind)
        assert kept.tolist() == index, seed
        assert torch.equal(picked[:, :4], boxes[index])
        assert picked[:, 4].tolist() == pytest.approx([float(score) for score in expected], abs=1e-6)


def test_thousands_of_boxes_are_softly_suppressed_without_a_call_of_pytorch_for_each():
    corners = torch.rand(2000, 2) * 500
    boxes = torch.cat([corners, corners + 40], dim=1)
    with torch.profiler.profile() as profile:
        _, kept = soft_nms(boxes, torch.rand(2000), 0.3, 0.5, 1e-3, 'linear', 0)
    assert len(kept) > 500
    # The picks are made without a call of PyTorch, which costs more than the work.
    assert len(profile.events()) < 50


def test_groups_equal_the_loop_on_200_random_cases():
    for seed in range(200):
        boxes, scores = random_boxes(seed)
        threshold = (0.1, 0.25, 0.5)[seed % 3]
        left, groups = sorted(range(len(boxes)), key=lambda n: (-scores[n].item(), n)), []
        while left:
            best = left[0]
            group = [n for n in left if n == best or overlap(boxes[best], boxes[n]) >= np.float32(threshold)]
            groups.append(group)
            left = [n for n in left if n not in group]
        assert nms_match(boxes, scores, threshold) == groups, seed
