"""The corners of intersections of rotated boxes, put in order around their middle.

Shape letters: B and N batches of pairs of boxes; 24 points of each: 4 corners of either box, 16 intersections of edges.
"""

import torch
from torch import Tensor

__all__ = ['ordered_vertices']

# Of the points, the corners of both boxes come first; a polygon that two boxes share has as many vertices at most.
_NUM_CORNERS = _MOST = 8


def ordered_vertices(points_BN242: Tensor, is_vertex_BN24: Tensor) -> Tensor:
    """Return the numbers of the vertices, around (0, 0), int (B, N, 9).

    The first follows the last once more; what is left names an intersection that is none. Where rounding makes several
    vertices of one, as in equal boxes, those that are farthest from the one before are taken. Fewer than three vertices
    are no polygon: all entries are left.
    """
    points = points_BN242.masked_fill(~is_vertex_BN24[..., None], 0)
    angle = torch.atan2(points[..., 1], points[..., 0]).masked_fill(~is_vertex_BN24, torch.inf)
    order = angle.argsort(dim=2, stable=True)
    along = points.gather(2, order[..., None].expand_as(points))
    count = is_vertex_BN24.sum(dim=2, keepdim=True)
    entry = torch.arange(order.shape[2], device=order.device)
    before = torch.where(entry == 0, count - 1, entry - 1).clamp(min=0)
    gap = (along - along.gather(2, before[..., None].expand_as(along))).square().sum(dim=3)
    farthest = gap.masked_fill(entry >= count, -1).topk(_MOST, dim=2).indices.sort(dim=2).values
    order, count = order.gather(2, farthest), count.clamp(max=_MOST)
    order = torch.cat([order, order[..., :1]], dim=2)
    nothing = _NUM_CORNERS + is_vertex_BN24[..., _NUM_CORNERS:].int().argmin(dim=2, keepdim=True)
    entry = entry[: _MOST + 1]
    order = torch.where(entry == count, order[..., :1], order)
    return torch.where((entry > count) | (count < 3), nothing, order).int()
