"""Assignment against literal loops, decoding by hand."""

import pytest
import torch

from mmopt.ops.anchor_boxes import assign_anchors, decode_boxes

ANCHORS = torch.tensor([[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]])


def literal_positives(boxes, anchors, stride, grid, max_ratio) -> set[tuple[int, int, int, int]]:
    found = set()
    for g, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        if x2 <= x1 or y2 <= y1:
            continue
        for a, (w, h) in enumerate(anchors.tolist()):
            if max((x2 - x1) / w, w / (x2 - x1), (y2 - y1) / h, h / (y2 - y1)) >= max_ratio:
                continue
            x, y = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride
            column, row = min(int(x), grid[1] - 1), min(int(y), grid[0] - 1)
            cells = [(row, column)]
            if x - column != 0.5:
                cells.append((row, column + (1 if x - column > 0.5 else -1)))
            if y - row != 0.5:
                cells.append((row + (1 if y - row > 0.5 else -1), column))
            found |= {(g, a, r, c) for r, c in cells if 0 <= r < grid[0] and 0 <= c < grid[1]}
    return found


@pytest.mark.parametrize(('stride', 'grid'), [(8, (8, 12)), (16, (4, 6)), (32, (2, 3))])
def test_assignment_equals_literal_loops(stride, grid):
    generator = torch.Generator().manual_seed(stride)
    corner = torch.rand(60, 2, generator=generator) * torch.tensor([90.0, 60.0])
    high = torch.minimum(corner + torch.rand(60, 2, generator=generator) ** 2 * 60, torch.tensor([96.0, 64.0]))
    boxes = torch.cat((corner, high), dim=1)
    # On borders, in the middle of a cell, in the last corner, without area, over the whole image.
    special = [[0, 0, 16, 16], [4, 4, 12, 12], [90, 58, 96, 64], [5, 5, 5, 9], [0, 0, 96, 64], [84, 52, 108, 76]]
    boxes = torch.cat((boxes, torch.tensor(special, dtype=torch.float32)))
    found = assign_anchors(boxes, ANCHORS, stride, grid)
    rows = list(zip(*(column.tolist() for column in found), strict=True))
    assert len(rows) == len(set(rows))
    want = literal_positives(boxes, ANCHORS, stride, grid, 4.0)
    assert set(rows) == want
    assert len({row[0] for row in want}) > 20


def test_a_center_near_the_upper_left_corner_of_its_cell_takes_the_cells_left_and_above():
    box = torch.tensor([[30.0, 30.0, 38.0, 38.0]])  # center 34, cell 4.25
    found = assign_anchors(box, ANCHORS[:1], 8, (8, 8))
    assert sorted(zip(found.row_N.tolist(), found.column_N.tolist(), strict=True)) == [(3, 4), (4, 3), (4, 4)]


def test_no_box_gives_no_positive():
    assert all(len(column) == 0 for column in assign_anchors(torch.zeros(0, 4), ANCHORS, 8, (8, 8)))


def test_zeros_decode_to_the_anchor_in_the_middle_of_its_cell():
    box = decode_boxes(torch.zeros(1, 4), torch.tensor([[10.0, 20.0]]), torch.tensor([[3, 1]]), 8)
    assert box.tolist() == [[28 - 5, 12 - 10, 28 + 5, 12 + 10]]


def test_a_cell_reaches_every_center_and_size_it_is_assigned():
    """Half a cell beyond its borders, and four times the anchor."""
    extreme = torch.tensor([[-40.0, -40.0, 40.0, -40.0], [40.0, 40.0, 40.0, 40.0]])
    box = decode_boxes(extreme, torch.tensor([10.0, 10.0]), torch.tensor([2, 2]), 8)
    center, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    torch.testing.assert_close(center, torch.tensor([[12.0, 12.0], [28.0, 28.0]]))
    torch.testing.assert_close(size, torch.tensor([[40.0, 0.0], [40.0, 40.0]]))
