"""Neighbors among points in space, and features gathered by their numbers.

Paper: PointNet++, https://arxiv.org/abs/1706.02413.

Shape letters: B clouds, N points that are searched, M points that search, K neighbors, C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = [
    'ball_query',
    'farthest_points',
    'farthest_points_by_distance',
    'gather_columns',
    'nearest',
    'scatter_columns_back',
    'squared_distances',
    'weighted_columns',
    'weighted_columns_back',
]


def squared_distances(centers_BM3: Tensor, points_BN3: Tensor) -> Tensor:
    """Return the squared distances (B, M, N), exact where the distance is small: no product of matrices."""
    wide = torch.promote_types(points_BN3.dtype, torch.float32)
    centers_BM13, points_B1N3 = centers_BM3.to(wide)[:, :, None], points_BN3.to(wide)[:, None]
    # Axis by axis: a reduction over a last dimension of three is slow.
    x_BMN, y_BMN, z_BMN = (centers_BM13[..., axis] - points_B1N3[..., axis] for axis in range(3))
    return x_BMN.square() + y_BMN.square() + z_BMN.square()


def nearest(centers_BM3: Tensor, points_BN3: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return squared distances and numbers (B, M, K) of the nearest points, nearest first, of equal ones the first.

    Where there are fewer points, the last distances are the largest number there is, and their points number 0.
    """
    distances_BMN = squared_distances(centers_BM3, points_BN3)
    missing = max(0, count - points_BN3.shape[1])
    if missing:
        distances_BMN = pad(distances_BMN, (0, missing), value=torch.finfo(distances_BMN.dtype).max)
    distances_BMK, number_BMK = distances_BMN.sort(dim=2, stable=True)
    distances_BMK, number_BMK = distances_BMK[..., :count], number_BMK[..., :count]
    return distances_BMK, number_BMK.masked_fill(number_BMK >= points_BN3.shape[1], 0)


def ball_query(centers_BM3: Tensor, points_BN3: Tensor, min_radius: float, max_radius: float, count: int) -> Tensor:
    """Return the numbers (B, M, K) of the first points in a shell around each center.

    Missing ones repeat the first; where the shell is empty all are 0. A point at the center itself is in every shell.
    """
    distances_BMN = squared_distances(centers_BM3, points_BN3)
    inside_BMN = (distances_BMN >= min_radius**2) & (distances_BMN < max_radius**2) | (distances_BMN == 0)
    num_points = points_BN3.shape[1]
    number_BMN = torch.where(inside_BMN, torch.arange(num_points, device=inside_BMN.device), num_points)
    if num_points < count:
        number_BMN = pad(number_BMN, (0, count - num_points), value=num_points)
    number_BMK = number_BMN.topk(count, dim=2, largest=False, sorted=True).values
    first_BM1 = number_BMK[..., :1]
    number_BMK = torch.where(number_BMK == num_points, first_BM1, number_BMK)
    return torch.where(first_BM1 == num_points, 0, number_BMK)


def farthest_points(points_BN3: Tensor, count: int) -> Tensor:
    """Pick points (B, count), each the farthest from those picked before it; the first is number 0."""
    every_B = torch.arange(len(points_BN3), device=points_BN3.device)

    def distances_from(number_B: Tensor) -> Tensor:
        return squared_distances(points_BN3[every_B, number_B][:, None], points_BN3)[:, 0]

    return _pick_farthest(distances_from, points_BN3, count)


def farthest_points_by_distance(distances_BNN: Tensor, count: int) -> Tensor:
    """Pick as :func:`farthest_points` does, by distances between all pairs that are given."""
    every_B = torch.arange(len(distances_BNN), device=distances_BNN.device)
    return _pick_farthest(lambda number_B: distances_BNN[every_B, number_B], distances_BNN, count)


def _pick_farthest(distances_from: Callable[[Tensor], Tensor], like_BNX: Tensor, count: int) -> Tensor:
    # Each pick depends on the one before it: a loop over picks, each of them for all clouds at once.
    picked = [torch.zeros(len(like_BNX), dtype=torch.int64, device=like_BNX.device)]
    nearest_BN = distances_from(picked[0])
    for _ in range(count - 1):
        picked.append(nearest_BN.argmax(dim=1))
        nearest_BN = torch.minimum(nearest_BN, distances_from(picked[-1]))
    return torch.stack(picked, dim=1)


def gather_columns(features_BCN: Tensor, number: Tensor) -> Tensor:
    """Return the features of points: (B, C, ...) for numbers (B, ...)."""
    index_B1E = number.long().flatten(1)[:, None].expand(-1, features_BCN.shape[1], -1)
    return features_BCN.gather(2, index_B1E).unflatten(2, number.shape[1:])


def scatter_columns_back(grad: Tensor, number: Tensor, num_points: int) -> Tensor:
    """Return the gradient (B, C, N) of :func:`gather_columns`, in at least float32."""
    grad_BCE = grad.flatten(2).to(torch.promote_types(grad.dtype, torch.float32))
    index_BCE = number.long().flatten(1)[:, None].expand_as(grad_BCE)
    return grad_BCE.new_zeros(*grad_BCE.shape[:2], num_points).scatter_add_(2, index_BCE, grad_BCE)


def weighted_columns(features_BCN: Tensor, number_BMK: Tensor, weight_BMK: Tensor) -> Tensor:
    """Return the weighted sum of the features of K points for each of M, (B, C, M), in at least float32."""
    weight_BMK = weight_BMK.to(torch.promote_types(weight_BMK.dtype, torch.float32))
    return (gather_columns(features_BCN, number_BMK) * weight_BMK[:, None]).sum(dim=3)


def weighted_columns_back(grad_BCM: Tensor, number_BMK: Tensor, weight_BMK: Tensor, num_points: int) -> Tensor:
    """Return the gradient (B, C, N) of :func:`weighted_columns` for its features."""
    weight_BMK = weight_BMK.to(torch.promote_types(weight_BMK.dtype, torch.float32))
    return scatter_columns_back(grad_BCM[..., None] * weight_BMK[:, None], number_BMK, num_points)
