"""Functions of `mmcv._ext` that pool features of regions."""

from collections.abc import Callable

import torch
from torch import Tensor

from mmopt.mmcv1.extension.gradients import write_gradients
from mmopt.ops.mmcv.regions.deform_roi_pool import deform_roi_pool
from mmopt.ops.mmcv.regions.grid import RoIGrid
from mmopt.ops.mmcv.regions.roi_align import (
    roi_align,
    roi_align_backward,
    roi_align_max,
    roi_align_max_backward,
)
from mmopt.ops.mmcv.regions.roi_align_rotated import roi_align_rotated, roi_align_rotated_backward
from mmopt.ops.mmcv.regions.roi_pool import roi_pool, roi_pool_backward
from mmopt.ops.mmcv.regions.rotated_feature_align import rotated_feature_align

__all__ = ['REGION_FUNCTIONS']

_MAX_POOLING = 0


def _roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    grid = RoIGrid(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    if pool_mode == _MAX_POOLING:
        best, row, column = roi_align_max(input, rois, grid)
        output.copy_(best)
        # Which sample of its cell: whole numbers, which half precision keeps, where coordinates would be rounded.
        argmax_y.copy_(row)
        argmax_x.copy_(column)
    else:
        output.copy_(roi_align(input, rois, grid))


def _roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    grid = RoIGrid(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    if pool_mode == _MAX_POOLING:
        gradient = roi_align_max_backward(grad_output, argmax_y, argmax_x, rois, grid, grad_input.shape)
    else:
        gradient = roi_align_backward(grad_output, rois, grid, grad_input.shape)
    grad_input.copy_(gradient)


def _roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    best, pixel = roi_pool(input, rois, (pooled_height, pooled_width), spatial_scale)
    output.copy_(best)
    argmax.copy_(pixel)


def _roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    grad_input.copy_(roi_pool_backward(grad_output, argmax, rois, grad_input.shape))


def _roi_align_rotated_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    clockwise: bool,
) -> None:
    grid = RoIGrid(pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned)
    output.copy_(roi_align_rotated(input, rois, grid, clockwise))


def _roi_align_rotated_backward(
    grad_output: Tensor,
    rois: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    clockwise: bool,
) -> None:
    grid = RoIGrid(pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned)
    grad_input.copy_(roi_align_rotated_backward(grad_output, rois, grid, clockwise, grad_input.shape))


def _deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    grid = RoIGrid(pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned=True)
    output.copy_(deform_roi_pool(input, rois, offset if offset.numel() else None, grid, gamma))


def _deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    grid = RoIGrid(pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned=True)
    if offset.numel():
        write_gradients(
            lambda features, offset: deform_roi_pool(features, rois, offset, grid, gamma),
            (input, offset),
            grad_output,
            (grad_input, grad_offset),
        )
    else:
        write_gradients(
            lambda features: deform_roi_pool(features, rois, None, grid, gamma), (input,), grad_output, (grad_input,)
        )


def _rotated_feature_align_forward(
    features: Tensor, best_bboxes: Tensor, output: Tensor, spatial_scale: float, points: int
) -> None:
    output.copy_(rotated_feature_align(features, best_bboxes, spatial_scale, points))


def _rotated_feature_align_backward(
    top_grad: Tensor, best_bboxes: Tensor, bottom_grad: Tensor, spatial_scale: float, points: int
) -> None:
    # Linear in the features: which ones does not matter.
    write_gradients(
        lambda features: rotated_feature_align(features, best_bboxes, spatial_scale, points),
        (torch.zeros_like(bottom_grad),),
        top_grad,
        (bottom_grad,),
    )


REGION_FUNCTIONS: dict[str, Callable] = {
    'roi_align_forward': _roi_align_forward,
    'roi_align_backward': _roi_align_backward,
    'roi_pool_forward': _roi_pool_forward,
    'roi_pool_backward': _roi_pool_backward,
    'deform_roi_pool_forward': _deform_roi_pool_forward,
    'deform_roi_pool_backward': _deform_roi_pool_backward,
    'rotated_feature_align_forward': _rotated_feature_align_forward,
    'rotated_feature_align_backward': _rotated_feature_align_backward,
    'roi_align_rotated_forward': _roi_align_rotated_forward,
    'roi_align_rotated_backward': _roi_align_rotated_backward,
}
