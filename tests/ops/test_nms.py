"""Suppression against the greedy loop of every textbook."""

import pytest
import torch

from mmopt.ops.boxes import box_iou
from mmopt.ops.nms import box_nms, keep_greedily


def literal_nms(boxes, scores, threshold, groups) -> list[int]:
    left = sorted(range(len(scores)), key=lambda n: (-float(scores[n]), n))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [
            n
            for n in left
            if groups[n] != groups[best] or float(box_iou(boxes[n : n + 1], boxes[best : best + 1])) <= threshold
        ]
    return kept


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.7, 1.0])
def test_suppression_equals_the_greedy_loop(threshold):
    generator = torch.Generator().manual_seed(int(threshold * 10))
    corner = torch.rand(120, 2, generator=generator) * 30
    boxes = torch.cat((corner, corner + 5 + torch.rand(120, 2, generator=generator) * 20), dim=1)
    scores = (torch.rand(120, generator=generator) * 20).round() / 20  # with ties
    groups = torch.randint(0, 3, (120,), generator=generator)
    assert box_nms(boxes, scores, threshold, groups).tolist() == literal_nms(boxes, scores, threshold, groups)


def test_without_groups_all_suppress_each_other():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    assert box_nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]


def test_nothing_is_suppressed_among_nothing():
    assert box_nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_blocks_are_the_whole_and_thousands_of_boxes_need_no_square_of_memory():
    corner = torch.rand(3000, 2) * 200
    boxes = torch.cat((corner, corner + 5 + torch.rand(3000, 2) * 30), dim=1)
    scores = torch.rand(3000)
    order = scores.argsort(descending=True)
    whole = keep_greedily((box_iou(boxes[order], boxes[order]) > 0.5).triu(diagonal=1))
    with torch.profiler.profile(profile_memory=True) as profile:
        kept = box_nms(boxes, scores, 0.5)
    assert torch.equal(kept, order[whole])
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest < 3000 * 3000
