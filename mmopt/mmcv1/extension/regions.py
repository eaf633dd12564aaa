"""Functions of `mmcv._ext` that pool features of regions."""

from collections.abc import Callable

from torch import Tensor

from mmopt.ops.mmcv.roi_align import RoIGrid, roi_align, roi_align_backward, roi_align_max, roi_align_max_backward

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


REGION_FUNCTIONS: dict[str, Callable] = {
    'roi_align_forward': _roi_align_forward,
    'roi_align_backward': _roi_align_backward,
}
