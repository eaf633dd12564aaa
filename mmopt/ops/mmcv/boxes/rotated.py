"""Overlaps of rotated boxes (center x, center y, width, height, angle in radians).

Shape letters: N and M boxes; P pairs of boxes.
"""

import torch
from torch import Tensor

__all__ = ['paired_rotated_overlaps', 'rotated_overlaps']

# Pairs whose overlaps are computed at once.
_MAX_PAIRS = 1 << 16


def rotated_overlaps(boxes_N5: Tensor, others_M5: Tensor, over_first: bool = False) -> Tensor:
    """Compute the overlap of every box with every other.

    Args:
        boxes_N5: The first boxes, by whose areas ``over_first`` divides. In which direction angles grow does not
            matter, as long as it is the same everywhere.
        others_M5: With what they are compared.
        over_first: Whether the shared area is divided by that of the first box, not of the union.

    Returns:
        (N, M), in at least float32; 0 where a box has no area.
    """
    wide = torch.promote_types(boxes_N5.dtype, torch.float32)
    boxes_N5, others_M5 = boxes_N5.to(wide), others_M5.to(wide)
    overlaps_NM = boxes_N5.new_zeros(len(boxes_N5), len(others_M5))
    rows = max(1, _MAX_PAIRS // max(len(others_M5), 1))
    for part_NM, part_N5 in zip(overlaps_NM.split(rows), boxes_N5.split(rows), strict=True):
        one_P, other_P = _may_meet(part_N5, others_M5).nonzero(as_tuple=True)
        part_NM[one_P, other_P] = paired_rotated_overlaps(part_N5[one_P], others_M5[other_P], over_first)
    return overlaps_NM


def _may_meet(boxes_N5: Tensor, others_M5: Tensor) -> Tensor:
    """Tell for which pairs the circles around both boxes meet, bool (N, M): few of them, in most pictures."""
    x_N, y_N, width_N, height_N, _ = boxes_N5.T.contiguous()
    other_x_M, other_y_M, other_width_M, other_height_M, _ = others_M5.T.contiguous()
    reach_NM = torch.hypot(width_N, height_N)[:, None] + torch.hypot(other_width_M, other_height_M)
    return (x_N[:, None] - other_x_M).square() + (y_N[:, None] - other_y_M).square() <= (reach_NM / 2).square()


def paired_rotated_overlaps(boxes_P5: Tensor, others_P5: Tensor, over_first: bool = False) -> Tensor:
    """Return the overlap (P,) of each box with the other of the same place; see :func:`rotated_overlaps`."""
    wide = torch.promote_types(boxes_P5.dtype, torch.float32)
    boxes_P5, others_P5 = boxes_P5.to(wide), others_P5.to(wide)
    area_P, other_area_P = boxes_P5[:, 2] * boxes_P5[:, 3], others_P5[:, 2] * others_P5[:, 3]
    shared_P = _shared_area(boxes_P5, others_P5)
    whole_P = area_P if over_first else area_P + other_area_P - shared_P
    return torch.where((area_P > 0) & (other_area_P > 0), shared_P / whole_P, 0)


def _shared_area(boxes_P5: Tensor, others_P5: Tensor) -> Tensor:
    """Return the area of the intersections (P,).

    In the frame of the first box the area is the integral, around the other box, of its edges' height cut off at the
    first one's top and bottom, between the first one's left and right: no polygon is built and nothing is sorted, so
    that equal boxes and edges on edges are no special cases.
    """
    x_P, y_P, width_P, height_P, angle_P = boxes_P5.unbind(1)
    dx_P, dy_P = others_P5[:, 0] - x_P, others_P5[:, 1] - y_P
    cos_P, sin_P = angle_P.cos(), angle_P.sin()
    center_x_P, center_y_P = dx_P * cos_P + dy_P * sin_P, dy_P * cos_P - dx_P * sin_P
    turn_P = others_P5[:, 4] - angle_P
    cos_P, sin_P = turn_P.cos() / 2, turn_P.sin() / 2
    along_x_P, along_y_P = others_P5[:, 2] * cos_P, others_P5[:, 2] * sin_P
    across_x_P, across_y_P = -others_P5[:, 3] * sin_P, others_P5[:, 3] * cos_P
    corners_x = [center_x_P + i * along_x_P + j * across_x_P for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    corners_y = [center_y_P + i * along_y_P + j * across_y_P for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    right_P, bottom_P = width_P / 2, height_P / 2
    total_P = torch.zeros_like(x_P)
    for first, second in ((0, 1), (1, 2), (2, 3), (3, 0)):
        total_P += _integral(
            corners_x[first], corners_y[first], corners_x[second], corners_y[second], right_P, bottom_P
        )
    return total_P.abs()


def _integral(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
    """Integrate y, clamped to [-bottom, bottom], from (x0, y0) straight to (x1, y1), over x within [-right, right]."""
    run, rise = x1 - x0, y1 - y0
    run = torch.where(run == 0, 1, run)
    start, stop = _clamp(x0, right), _clamp(x1, right)
    y_start = y0 + ((start - x0) / run).clamp(0, 1) * rise
    y_stop = y0 + ((stop - x0) / run).clamp(0, 1) * rise
    climb = y_stop - y_start
    # Where the line passes top and bottom, as parts of its way: clamped y is straight before, between and after.
    divisor = torch.where(climb == 0, 1, climb)
    passes = ((-bottom - y_start) / divisor).clamp(0, 1), ((bottom - y_start) / divisor).clamp(0, 1)
    early, late = torch.minimum(*passes), torch.maximum(*passes)
    y_early, y_late = _clamp(y_start + early * climb, bottom), _clamp(y_start + late * climb, bottom)
    y_start, y_stop = _clamp(y_start, bottom), _clamp(y_stop, bottom)
    twice_mean = (y_start + y_early) * early + (y_early + y_late) * (late - early) + (y_late + y_stop) * (1 - late)
    return twice_mean / 2 * (stop - start)


def _clamp(value: Tensor, limit: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(value, limit), -limit)
