"""Overlaps by hand and against literal loops."""

import math

import pytest
import torch

from mmopt.ops.boxes import box_iou, paired_ciou, paired_giou, paired_iou


def boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 50
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=generator) * 40), dim=1)


def literal_iou(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_iou_equals_a_literal_loop():
    one, other = boxes(7), boxes(5, seed=1)
    want = [[literal_iou(a, b) for b in other.tolist()] for a in one.tolist()]
    torch.testing.assert_close(box_iou(one, other), torch.tensor(want))
    torch.testing.assert_close(paired_iou(one[:5], other), torch.tensor(want)[:5].diagonal())


def test_boxes_without_area_overlap_nothing():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0], [9.0, 9.0, 2.0, 2.0]])
    assert not box_iou(point, boxes(4)).any()
    assert not box_iou(point, point).any()


def test_giou_of_two_squares_by_hand():
    """Two unit squares one apart: hull 3 x 1, of which one third is empty."""
    one, other = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[2.0, 0.0, 3.0, 1.0]])
    assert paired_giou(one, other).item() == pytest.approx(-1 / 3)


def test_ciou_by_hand():
    """A 2x2 and a 4x2 box whose left sides coincide: IoU 1/2, centers 1 apart in a hull of 4x2."""
    one, other = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    aspect = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    want = 0.5 - 1 / 20 - aspect / (0.5 + aspect) * aspect
    assert paired_ciou(one, other).item() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize('overlap', [paired_iou, paired_giou, paired_ciou])
def test_equal_boxes_overlap_fully_and_gradients_are_finite(overlap):
    box = boxes(6)
    torch.testing.assert_close(overlap(box, box), torch.ones(6))
    wide = torch.cat((box, torch.zeros(1, 4)), dim=0).requires_grad_()
    overlap(wide, torch.cat((boxes(6, seed=2), box[:1]))).sum().backward()
    assert torch.isfinite(wide.grad).all()
