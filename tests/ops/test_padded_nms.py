"""Suppression of fixed shapes keeps what the greedy one keeps."""

import pytest
import torch

from mmopt.ops.nms import box_nms
from mmopt.ops.padded_nms import keep_mask, nms_mask, top_rows


def _boxes(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(3, count, 2, generator=generator) * 50
    boxes = torch.cat((corner, corner + 5 + 30 * torch.rand(3, count, 2, generator=generator)), dim=2)
    scores = torch.rand(3, count, generator=generator).sort(dim=1, descending=True).values
    return boxes, scores, torch.randint(0, 2, (3, count), generator=generator)


@pytest.mark.parametrize('rule', [keep_mask, nms_mask])
@pytest.mark.parametrize('count', [1, 2, 60])
def test_what_stays_is_what_the_greedy_rule_keeps(rule, count):
    boxes, scores, groups = _boxes(count)
    scores[1, count // 2 :] = 0  # takes no part
    kept = rule(boxes, scores, groups, 2, 0.4)
    for b in range(3):
        real = int((scores[b] > 0).sum())
        want = box_nms(boxes[b, :real], scores[b, :real], 0.4, groups[b, :real])
        assert kept[b].nonzero().flatten().tolist() == sorted(want.tolist())
    assert count < 60 or 3 < kept.sum() < 0.8 * kept.numel()


def test_a_box_that_was_dropped_drops_no_other():
    # Each overlaps its neighbor by 7 of 13.
    boxes = torch.tensor([[[0.0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10], [9, 0, 19, 10]]])
    kept = keep_mask(boxes, torch.tensor([[0.9, 0.8, 0.7, 0.6]]), torch.zeros(1, 4, dtype=torch.long), 1, 0.5)
    assert kept.tolist() == [[True, False, True, False]]


def test_the_best_rows_come_first_and_zeros_behind_them():
    scores = torch.tensor([[0.0, 0.5, 0.9, 0.0], [0.1, 0.2, 0.3, 0.4]])
    labels = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    top, taken, pairs, counts = top_rows(scores, 3, (labels, torch.stack((labels, -labels), dim=2)))
    assert top[0].tolist() == pytest.approx([0.9, 0.5, 0])
    assert taken.tolist() == [[3, 2, 0], [8, 7, 6]]
    assert pairs[0].tolist() == [[3, -3], [2, -2], [0, 0]]
    assert counts.tolist() == [2, 3]
