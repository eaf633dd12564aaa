"""Anchor boxes on a grid: which of them learn which box, and how outputs become boxes.

Rules of YOLOv5, which has no paper. An anchor fits a box when no side is ``max_ratio`` or more times longer or shorter.
The box is learnt in the cell of its center and in the two neighbors that are nearest to it, one beside and one above
or below; that is why a center may lie half a cell outside of its cell.

Shape letters: G boxes, A anchors of a level, N positives.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ['Positives', 'assign_anchors', 'decode_boxes']


class Positives(NamedTuple):
    """Where a level of the grid learns a box.

    Attributes:
        box_N: Index of the box.
        anchor_N: Index of the anchor.
        row_N: Row of the cell.
        column_N: Column of the cell.
    """

    box_N: Tensor
    anchor_N: Tensor
    row_N: Tensor
    column_N: Tensor


def assign_anchors(
    boxes_G4: Tensor, anchors_A2: Tensor, stride: int, grid: tuple[int, int], max_ratio: float = 4.0
) -> Positives:
    """Find the positives of one level.

    Args:
        boxes_G4: Boxes (x1, y1, x2, y2) in pixels of the network's input; a box without area gets no positive.
        anchors_A2: Widths and heights in pixels.
        stride: Pixels per cell.
        grid: Rows and columns of the level.
        max_ratio: Sides must differ by less than this factor.

    Returns:
        The positives; one box has up to three cells per anchor that fits.
    """
    rows, columns = grid
    size_G2 = boxes_G4[:, 2:] - boxes_G4[:, :2]
    ratio_GA2 = size_G2[:, None] / anchors_A2
    fits_GA = (torch.maximum(ratio_GA2, 1 / ratio_GA2).amax(dim=-1) < max_ratio) & (size_G2 > 0).all(dim=-1)[:, None]
    center_G2 = (boxes_G4[:, :2] + boxes_G4[:, 2:]) / (2 * stride)
    column_G = center_G2[:, 0].floor().clamp(0, columns - 1)
    row_G = center_G2[:, 1].floor().clamp(0, rows - 1)
    right_G, below_G = center_G2[:, 0] - column_G, center_G2[:, 1] - row_G
    own = torch.ones_like(column_G, dtype=torch.bool)
    zero, one = torch.zeros_like(column_G), torch.ones_like(column_G)
    # The cell itself, left, right, above, below.
    step_5G2 = torch.stack([torch.stack(pair, dim=-1) for pair in (
        (zero, zero), (-one, zero), (one, zero), (zero, -one), (zero, one)
    )])  # fmt: skip
    near_5G = torch.stack([own, right_G < 0.5, right_G > 0.5, below_G < 0.5, below_G > 0.5])
    cell_5G2 = torch.stack([column_G, row_G], dim=-1) + step_5G2
    limit_2 = torch.stack([one.new_full((), columns), one.new_full((), rows)])
    near_5G &= ((cell_5G2 >= 0) & (cell_5G2 < limit_2)).all(dim=-1)
    way_N, box_N, anchor_N = (near_5G[..., None] & fits_GA).nonzero(as_tuple=True)
    column_N, row_N = cell_5G2[way_N, box_N].long().unbind(dim=-1)
    return Positives(box_N, anchor_N, row_N, column_N)


def decode_boxes(outputs_N4: Tensor, anchors_N2: Tensor, cells_N2: Tensor, stride: int) -> Tensor:
    """Turn raw outputs into boxes: xy = 2 sigmoid - 0.5 + cell, wh = (2 sigmoid)^2 * anchor.

    Args:
        outputs_N4: Raw outputs x, y, w, h; any leading axes.
        anchors_N2: Widths and heights in pixels, broadcastable.
        cells_N2: Column and row of each cell, broadcastable.
        stride: Pixels per cell.

    Returns:
        Boxes (x1, y1, x2, y2) in pixels of the network's input.
    """
    twice = 2 * outputs_N4.sigmoid()
    center = (twice[..., :2] - 0.5 + cells_N2) * stride
    half = twice[..., 2:].square() * anchors_N2 / 2
    return torch.cat((center - half, center + half), dim=-1)
