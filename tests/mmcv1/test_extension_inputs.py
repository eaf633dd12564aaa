"""Every function of the extension on tensors of all kinds: half precision, strides of any kind, empty ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmopt.mmcv1.extension.module import EXTENSION_FUNCTIONS

ROI = dict(spatial_scale=0.5)
ALIGN = ROI | dict(aligned_height=2, aligned_width=3, sampling_ratio=0, aligned=True)
ROTATED = ROI | dict(pooled_height=2, pooled_width=3, sampling_ratio=0, aligned=True, clockwise=True)
DEFORM = dict(kW=3, kH=3, dW=1, dH=1, padW=1, padH=1, dilationW=1, dilationH=1, group=1, deformable_group=1)
MODULATED = dict(
    kernel_h=3, kernel_w=3, stride_h=1, stride_w=1, pad_h=1, pad_w=1, dilation_h=1, dilation_w=1, group=1
) | dict(deformable_group=1, with_bias=True)
PSA = dict(num_=2, h_feature=4, w_feature=5, h_mask=3, w_mask=3, half_h_mask=1, half_w_mask=1)
CARAFE = dict(kernel_size=3, group_size=2, scale_factor=2)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape)


def out(*shape: int) -> Tensor:
    """Return a tensor that a function writes into; they are told from the others by being all 7."""
    return torch.full(shape, 7.0)


def rois() -> Tensor:
    corners = torch.rand(4, 2) * 8
    return torch.cat([torch.tensor([[0.0], [1], [1], [0]]), corners, corners + torch.rand(4, 2) * 8], dim=1)


def turns() -> Tensor:
    """Return where each of 4 x 3 x 3 numbers of a filter goes in 8 rotations, from 1."""
    return torch.stack([torch.randperm(36) + 1 for _ in range(8)], dim=1).view(4, 3, 3, 8).int()


# Arguments by name of the function.
CASES: dict[str, tuple[Callable[[], tuple[Tensor, ...]], dict]] = {
    'roi_align_forward': (
        lambda: (draw(2, 4, 6, 5), rois(), out(4, 4, 2, 3), torch.zeros(0), torch.zeros(0)),
        ALIGN | dict(pool_mode=1),
    ),
    'roi_align_backward': (
        lambda: (draw(4, 4, 2, 3), rois(), torch.zeros(0), torch.zeros(0), out(2, 4, 6, 5)),
        ALIGN | dict(pool_mode=1),
    ),
    'roi_pool_forward': (
        lambda: (draw(2, 4, 6, 5), rois(), out(4, 4, 2, 3), torch.zeros(4, 4, 2, 3, dtype=torch.int32)),
        ROI | dict(pooled_height=2, pooled_width=3),
    ),
    'roi_pool_backward': (
        lambda: (draw(4, 4, 2, 3), rois(), torch.randint(-1, 30, (4, 4, 2, 3)).int(), out(2, 4, 6, 5)),
        ROI | dict(pooled_height=2, pooled_width=3),
    ),
    'roi_align_rotated_forward': (
        lambda: (draw(2, 4, 6, 5), torch.cat([rois(), torch.rand(4, 1)], dim=1), out(4, 4, 2, 3)),
        ROTATED,
    ),
    'roi_align_rotated_backward': (
        lambda: (draw(4, 4, 2, 3), torch.cat([rois(), torch.rand(4, 1)], dim=1), out(2, 4, 6, 5)),
        ROTATED,
    ),
    'deform_roi_pool_backward': (
        lambda: (draw(4, 4, 2, 3), draw(2, 4, 6, 5), rois(), draw(4, 2, 2, 3), out(2, 4, 6, 5), out(4, 2, 2, 3)),
        ROI | dict(pooled_height=2, pooled_width=3, sampling_ratio=0, gamma=0.1),
    ),
    'rotated_feature_align_forward': (
        lambda: (draw(2, 4, 6, 5), torch.rand(2, 6, 5, 5) * 8, out(2, 4, 6, 5)),
        ROI | dict(points=5),
    ),
    'rotated_feature_align_backward': (
        lambda: (draw(2, 4, 6, 5), torch.rand(2, 6, 5, 5) * 8, out(2, 4, 6, 5)),
        ROI | dict(points=5),
    ),
    'active_rotated_filter_forward': (
        lambda: (draw(3, 2, 4, 3, 3), turns(), out(24, 8, 3, 3)),
        {},
    ),
    'active_rotated_filter_backward': (
        lambda: (draw(24, 8, 3, 3), turns(), out(3, 2, 4, 3, 3)),
        {},
    ),
    'sigmoid_focal_loss_forward': (
        lambda: (draw(5, 3), torch.randint(0, 4, (5,)), torch.rand(3), out(5, 3)),
        dict(gamma=2.0, alpha=0.25),
    ),
    'sigmoid_focal_loss_backward': (
        lambda: (draw(5, 3), torch.randint(0, 4, (5,)), torch.rand(3), out(5, 3)),
        dict(gamma=2.0, alpha=0.25),
    ),
    'softmax_focal_loss_forward': (
        lambda: (draw(5, 3).softmax(dim=1), torch.randint(0, 3, (5,)), torch.rand(3), out(5)),
        dict(gamma=2.0, alpha=0.25),
    ),
    'softmax_focal_loss_backward': (
        lambda: (draw(5, 3).softmax(dim=1), torch.randint(0, 3, (5,)), torch.rand(3), torch.zeros(5), out(5, 3)),
        dict(gamma=2.0, alpha=0.25),
    ),
    'deform_conv_forward': (
        lambda: (draw(2, 4, 6, 5), draw(3, 4, 3, 3), draw(2, 18, 6, 5), out(2, 3, 6, 5), *torch.zeros(2, 0)),
        DEFORM | dict(im2col_step=2),
    ),
    'deform_conv_backward_input': (
        lambda: (
            *(draw(2, 4, 6, 5), draw(2, 18, 6, 5), draw(2, 3, 6, 5), out(2, 4, 6, 5), out(2, 18, 6, 5)),
            *(draw(3, 4, 3, 3), torch.zeros(0)),
        ),
        DEFORM | dict(im2col_step=2),
    ),
    'deform_conv_backward_parameters': (
        lambda: (draw(2, 4, 6, 5), draw(2, 18, 6, 5), draw(2, 3, 6, 5), out(3, 4, 3, 3), *torch.zeros(2, 0)),
        DEFORM | dict(im2col_step=2, scale=1),
    ),
    'modulated_deform_conv_forward': (
        lambda: (
            *(draw(2, 4, 6, 5), draw(3, 4, 3, 3), draw(3), torch.zeros(0), draw(2, 18, 6, 5), draw(2, 9, 6, 5)),
            *(out(2, 3, 6, 5), torch.zeros(0)),
        ),
        MODULATED,
    ),
    'modulated_deform_conv_backward': (
        lambda: (
            *(draw(2, 4, 6, 5), draw(3, 4, 3, 3), draw(3), torch.zeros(0), draw(2, 18, 6, 5), draw(2, 9, 6, 5)),
            *(torch.zeros(0), out(2, 4, 6, 5), out(3, 4, 3, 3), out(3), out(2, 18, 6, 5), out(2, 9, 6, 5)),
            draw(2, 3, 6, 5),
        ),
        MODULATED,
    ),
    'masked_im2col_forward': (
        lambda: (draw(1, 4, 6, 5), torch.tensor([0, 3]), torch.tensor([4, 1]), out(36, 2)),
        dict(kernel_h=3, kernel_w=3, pad_h=1, pad_w=1),
    ),
    'psamask_forward': (lambda: (draw(2, 9, 4, 5), out(2, 20, 4, 5)), PSA | dict(psa_type=1)),
    'psamask_backward': (lambda: (draw(2, 20, 4, 5), out(2, 9, 4, 5)), PSA | dict(psa_type=1)),
    'carafe_naive_forward': (lambda: (draw(2, 4, 6, 5), draw(2, 18, 12, 10), out(2, 4, 12, 10)), CARAFE),
    'carafe_naive_backward': (
        lambda: (draw(2, 4, 12, 10), draw(2, 4, 6, 5), draw(2, 18, 12, 10), out(2, 4, 6, 5), out(2, 18, 12, 10)),
        CARAFE,
    ),
    'tin_shift_forward': (lambda: (draw(2, 3, 4, 5), torch.tensor([[1, -1], [0, 1]]), out(2, 3, 4, 5)), {}),
    'ms_deform_attn_backward': (
        lambda: (
            *(draw(1, 20, 2, 3), torch.tensor([[4, 4], [2, 2]]), torch.tensor([0, 16]), torch.rand(1, 5, 2, 2, 3, 2)),
            *(draw(1, 5, 2, 2, 3), draw(1, 5, 6), out(1, 20, 2, 3), out(1, 5, 2, 2, 3, 2), out(1, 5, 2, 2, 3)),
        ),
        dict(im2col_step=64),
    ),
    'bbox_overlaps': (
        lambda: (rois()[:, 1:], rois()[:, 1:], out(4, 4)),
        dict(mode=0, aligned=False, offset=1),
    ),
    'box_iou_rotated': (
        lambda: (torch.rand(4, 5), torch.rand(3, 5), out(12)),
        dict(mode_flag=1, aligned=False),
    ),
    'group_points_forward': (lambda: (draw(2, 3, 6), torch.randint(0, 6, (2, 4, 2)).int(), out(2, 3, 4, 2)), {}),
    'group_points_backward': (lambda: (draw(2, 3, 4, 2), torch.randint(0, 6, (2, 4, 2)).int(), out(2, 3, 6)), {}),
    'three_interpolate_forward': (
        lambda: (draw(2, 3, 6), torch.randint(0, 6, (2, 4, 3)).int(), torch.rand(2, 4, 3), out(2, 3, 4)),
        {},
    ),
}


def is_out(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and bool((tensor == 7).all())


def results(name: str, args: list[Tensor], kwargs: dict) -> list[Tensor]:
    outs = [n for n, arg in enumerate(args) if is_out(arg)]
    with torch.no_grad():
        EXTENSION_FUNCTIONS[name](*args, **kwargs)
    return [args[n] for n in outs]


def strided(tensor: Tensor) -> Tensor:
    """Return the same numbers with the first dimension innermost in memory and gaps between them."""
    if tensor.dim() == 0:
        return tensor
    spaced = torch.stack([tensor.movedim(0, -1)] * 2, dim=-1)
    return spaced[..., 0].movedim(-1, 0)


@pytest.mark.parametrize('name', CASES)
def test_strides_do_not_matter(name):
    make, kwargs = CASES[name]
    args = [arg.clone() for arg in make()]
    expected = results(name, [arg.clone() for arg in args], kwargs)
    for actual, want in zip(results(name, [strided(arg) for arg in args], kwargs), expected, strict=True):
        torch.testing.assert_close(actual, want)
    channels_last = [arg.clone(memory_format=torch.channels_last) if arg.dim() == 4 else arg.clone() for arg in args]
    for actual, want in zip(results(name, channels_last, kwargs), expected, strict=True):
        torch.testing.assert_close(actual, want)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', CASES)
def test_half_precision_is_the_rounded_result_of_float32(name, dtype):
    make, kwargs = CASES[name]
    halves = [arg.to(dtype) if arg.is_floating_point() else arg for arg in make()]
    expected = results(name, [arg.float() if arg.is_floating_point() else arg.clone() for arg in halves], kwargs)
    for actual, want in zip(results(name, halves, kwargs), expected, strict=True):
        assert actual.dtype == dtype
        torch.testing.assert_close(actual, want.to(dtype))


@pytest.mark.gpu
@pytest.mark.parametrize('name', CASES)
def test_a_gpu_gives_the_numbers_of_a_cpu(name):
    make, kwargs = CASES[name]
    args = [arg.clone() for arg in make()]
    on_gpu = [arg.cuda() for arg in args]
    for actual, want in zip(results(name, on_gpu, kwargs), results(name, args, kwargs), strict=True):
        torch.testing.assert_close(actual.cpu(), want, rtol=1e-4, atol=1e-4)
