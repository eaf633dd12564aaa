"""Functions of `mmcv._ext` on points in space. Sizes that the extension is told are those of the tensors."""

from collections.abc import Callable

from torch import Tensor

from mmopt.ops.mmcv.points import (
    ball_query,
    farthest_points,
    farthest_points_by_distance,
    gather_columns,
    nearest,
    scatter_columns_back,
    weighted_columns,
    weighted_columns_back,
)

__all__ = ['POINT_FUNCTIONS']


def _three_nn_forward(target: Tensor, source: Tensor, dist2: Tensor, idx: Tensor, **sizes: int) -> None:
    distances, number = nearest(target, source, 3)
    dist2.copy_(distances)
    idx.copy_(number)


def _knn_forward(xyz: Tensor, center_xyz: Tensor, idx: Tensor, dist2: Tensor, *, nsample: int, **sizes: int) -> None:
    distances, number = nearest(center_xyz, xyz, nsample)
    dist2.copy_(distances)
    idx.copy_(number)


def _ball_query_forward(
    center_xyz: Tensor,
    xyz: Tensor,
    idx: Tensor,
    *,
    min_radius: float,
    max_radius: float,
    nsample: int,
    **sizes: int,
) -> None:
    idx.copy_(ball_query(center_xyz, xyz, min_radius, max_radius, nsample))


def _gather_forward(features: Tensor, indices: Tensor, output: Tensor, **sizes: int) -> None:
    output.copy_(gather_columns(features, indices))


def _gather_backward(grad_out: Tensor, idx: Tensor, grad_features: Tensor, **sizes: int) -> None:
    grad_features.copy_(scatter_columns_back(grad_out, idx, grad_features.shape[2]))


def _three_interpolate_forward(features: Tensor, indices: Tensor, weight: Tensor, output: Tensor, **sizes: int) -> None:
    output.copy_(weighted_columns(features, indices, weight))


def _three_interpolate_backward(
    grad_out: Tensor, idx: Tensor, weight: Tensor, grad_features: Tensor, **sizes: int
) -> None:
    grad_features.copy_(weighted_columns_back(grad_out, idx, weight, grad_features.shape[2]))


def _furthest_point_sampling_forward(points_xyz: Tensor, temp: Tensor, output: Tensor, *, m: int, **sizes: int) -> None:
    output.copy_(farthest_points(points_xyz, m))


def _furthest_point_sampling_with_dist_forward(
    points_dist: Tensor, temp: Tensor, output: Tensor, *, m: int, **sizes: int
) -> None:
    output.copy_(farthest_points_by_distance(points_dist, m))


POINT_FUNCTIONS: dict[str, Callable] = {
    'three_nn_forward': _three_nn_forward,
    'knn_forward': _knn_forward,
    'ball_query_forward': _ball_query_forward,
    'group_points_forward': _gather_forward,
    'group_points_backward': _gather_backward,
    'gather_points_forward': _gather_forward,
    'gather_points_backward': _gather_backward,
    'three_interpolate_forward': _three_interpolate_forward,
    'three_interpolate_backward': _three_interpolate_backward,
    'furthest_point_sampling_forward': _furthest_point_sampling_forward,
    'furthest_point_sampling_with_dist_forward': _furthest_point_sampling_with_dist_forward,
}
