"""Functions of `mmcv._ext` for convolutions: deformable ones, and those at some places only."""

from collections.abc import Callable

from torch import Tensor

from mmopt.ops.mmcv.layers.deform_conv import DeformConv
from mmopt.ops.mmcv.layers.masked_conv import columns_at, scatter_columns

__all__ = ['CONVOLUTION_FUNCTIONS']


def _deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    im2col_step: int,
    **geometry: int,
) -> None:
    output.copy_(_first_version(**geometry).forward(input, offset, None, weight))


def _deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    im2col_step: int,
    **geometry: int,
) -> None:
    convolution = _first_version(**geometry)
    gradients = convolution.backward(grad_output, input, offset, None, weight, for_weight=False)
    _write(grad_input, gradients.input_BCHW)
    _write(grad_offset, gradients.offset)


def _deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    im2col_step: int,
    **geometry: int,
) -> None:
    convolution = _first_version(**geometry)
    gradients = convolution.backward(grad_output, input, offset, None, grad_weight, for_inputs=False)
    if gradients.weight is not None:
        _write(grad_weight, gradients.weight * scale)


def _first_version(
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
) -> DeformConv:
    """Read the geometry that the extension is told for the first version; the weight tells the kernel's size."""
    return DeformConv((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)


def _modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    result = _second_version(**geometry).forward(input, offset, mask, weight)
    output.copy_(result + bias[:, None, None] if with_bias else result)


def _modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    gradients = _second_version(**geometry).backward(grad_output, input, offset, mask, weight)
    _write(grad_input, gradients.input_BCHW)
    _write(grad_offset, gradients.offset)
    _write(grad_mask, gradients.mask)
    _write(grad_weight, gradients.weight)
    if with_bias:
        grad_bias.copy_(grad_output.float().sum(dim=(0, 2, 3)))


def _second_version(
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
) -> DeformConv:
    """Read the geometry that the extension is told for the second version."""
    return DeformConv((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group)


def _write(target: Tensor, gradient: Tensor | None) -> None:
    if gradient is not None:
        target.copy_(gradient)


def _masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    col.copy_(columns_at(im[0], mask_h_idx, mask_w_idx, (kernel_h, kernel_w), (pad_h, pad_w)))


def _masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    scatter_columns(col, mask_h_idx, mask_w_idx, im[0])


CONVOLUTION_FUNCTIONS: dict[str, Callable] = {
    'deform_conv_forward': _deform_conv_forward,
    'deform_conv_backward_input': _deform_conv_backward_input,
    'deform_conv_backward_parameters': _deform_conv_backward_parameters,
    'modulated_deform_conv_forward': _modulated_deform_conv_forward,
    'modulated_deform_conv_backward': _modulated_deform_conv_backward,
    'masked_im2col_forward': _masked_im2col_forward,
    'masked_col2im_forward': _masked_col2im_forward,
}
