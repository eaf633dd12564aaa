"""Functions of `mmcv._ext` for attention, upsampling and shifts."""

from collections.abc import Callable

from torch import Tensor

from mmopt.mmcv1.extension.gradients import write_gradients
from mmopt.ops.mmcv.layers.active_rotated_filter import turned_filters, turned_filters_backward
from mmopt.ops.mmcv.layers.carafe import carafe
from mmopt.ops.mmcv.layers.deform_attention import deformable_attention
from mmopt.ops.mmcv.layers.psa_mask import psa_mask, psa_mask_backward
from mmopt.ops.mmcv.layers.tin_shift import tin_shift

__all__ = ['LAYER_FUNCTIONS']

_DISTRIBUTE = 1


def _ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    attended = deformable_attention(
        value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights
    )
    return attended.to(value.dtype)


def _ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    write_gradients(
        lambda value, places, attention: deformable_attention(
            value, value_spatial_shapes, value_level_start_index, places, attention
        ),
        (value, sampling_locations, attention_weights),
        grad_output,
        (grad_value, grad_sampling_loc, grad_attn_weight),
    )


def _carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    output.copy_(carafe(features, masks, kernel_size, group_size, scale_factor))


def _carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    write_gradients(
        lambda features, masks: carafe(features, masks, kernel_size, group_size, scale_factor),
        (features, masks),
        grad_output,
        (grad_input, grad_masks),
    )


def _carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    _carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)
    # All that the backward pass is given of the features.
    rfeatures.copy_(features)


def _carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    _carafe_naive_backward(grad_output, rfeatures, masks, grad_input, grad_masks, kernel_size, group_size, scale_factor)


def _psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    output.copy_(psa_mask(input, (h_mask, w_mask), psa_type == _DISTRIBUTE))


def _psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    grad_input.copy_(psa_mask_backward(grad_output, (h_mask, w_mask), psa_type == _DISTRIBUTE))


def _tin_shift_forward(input: Tensor, shift: Tensor, output: Tensor) -> None:
    output.copy_(tin_shift(input, shift))


def _tin_shift_backward(grad_output: Tensor, shift: Tensor, grad_input: Tensor) -> None:
    grad_input.copy_(tin_shift(grad_output, -shift))


def _active_rotated_filter_forward(input: Tensor, indices: Tensor, output: Tensor) -> None:
    # The extension counts places from 1.
    turned = turned_filters(input.flatten(2), indices.flatten(0, 2).long() - 1)
    output.copy_(turned.reshape(output.shape))


def _active_rotated_filter_backward(grad_out: Tensor, indices: Tensor, grad_in: Tensor) -> None:
    planes_out, planes_in = grad_in.shape[:2]
    place = indices.flatten(0, 2).long() - 1
    grad = grad_out.reshape(planes_out, place.shape[1], planes_in, -1)
    grad_in.copy_(turned_filters_backward(grad.float(), place).view(grad_in.shape))


LAYER_FUNCTIONS: dict[str, Callable] = {
    'ms_deform_attn_forward': _ms_deform_attn_forward,
    'ms_deform_attn_backward': _ms_deform_attn_backward,
    'active_rotated_filter_forward': _active_rotated_filter_forward,
    'active_rotated_filter_backward': _active_rotated_filter_backward,
    'carafe_naive_forward': _carafe_naive_forward,
    'carafe_naive_backward': _carafe_naive_backward,
    'carafe_forward': _carafe_forward,
    'carafe_backward': _carafe_backward,
    'psamask_forward': _psamask_forward,
    'psamask_backward': _psamask_backward,
    'tin_shift_forward': _tin_shift_forward,
    'tin_shift_backward': _tin_shift_backward,
}
