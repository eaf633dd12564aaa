"""Deformable convolution against a literal reference: each tap at each place by itself, in float64 with autograd."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from mmopt.ops.mmcv.layers import deform_conv as module
from mmopt.ops.mmcv.layers.deform_conv import DeformConv
from tests.ops.mmcv.reference import read_at


def reference(conv: DeformConv, maps: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor) -> Tensor:
    num_out, num_in, kernel_height, kernel_width = weight.shape
    taps = kernel_height * kernel_width
    per_offset, per_group = maps.shape[1] // conv.deform_groups, num_out // conv.groups
    places = []
    for b in range(len(maps)):
        for o in range(num_out):
            for ho in range(offset.shape[2]):
                for wo in range(offset.shape[3]):
                    total = maps.new_zeros(())
                    for c_in in range(num_in):
                        channel = o // per_group * num_in + c_in
                        group = channel // per_offset
                        for k in range(taps):
                            i, j = divmod(k, kernel_width)
                            dy, dx = offset[b, (group * taps + k) * 2 :, ho, wo][:2]
                            y = ho * conv.stride[0] - conv.padding[0] + i * conv.dilation[0] + dy
                            x = wo * conv.stride[1] - conv.padding[1] + j * conv.dilation[1] + dx
                            value = read_at(maps[b, channel], y, x) * weight[o, c_in, i, j]
                            total = total + (value if mask is None else value * mask[b, group * taps + k, ho, wo])
                    places.append(total)
    return torch.stack(places).view(len(maps), num_out, *offset.shape[2:])


def random_case(seed: int) -> tuple[DeformConv, list[Tensor | None]]:
    rng = torch.Generator().manual_seed(seed)
    groups, deform_groups = 1 + seed % 2, 1 + seed // 2 % 2
    kernel = (1 + seed % 3 % 2, 1 + seed // 3 % 2)
    conv = DeformConv((1 + seed % 2, 1), (seed % 3 % 2, 1), (1, 1 + seed // 5 % 2), groups, deform_groups)
    height, width = 3, 3
    out = [
        (size + 2 * conv.padding[axis] - conv.dilation[axis] * (kernel[axis] - 1) - 1) // conv.stride[axis] + 1
        for axis, size in enumerate((height, width))
    ]
    out_channels = groups
    in_channels = 2

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()

    taps = kernel[0] * kernel[1]
    return conv, [
        draw(1, in_channels, height, width),
        draw(1, deform_groups * taps * 2, *out),
        draw(1, deform_groups * taps, *out) if seed % 2 else None,
        draw(out_channels, in_channels // groups, *kernel),
    ]


def run(conv: DeformConv, tensors: list[Tensor | None], grad: Tensor) -> tuple[Tensor, list[Tensor]]:
    taken = [None if tensor is None else tensor.detach().to(grad.dtype) for tensor in tensors]
    gradients = conv.backward(grad, *taken)
    all_of_them = [gradients.input_BCHW, gradients.offset, gradients.mask, gradients.weight]
    return conv.forward(*taken), [gradient for gradient in all_of_them if gradient is not None]


@pytest.mark.parametrize('first', range(0, 200, 50))
def test_results_and_gradients_equal_the_reference_on_200_random_cases(first):
    for seed in range(first, first + 50):
        conv, tensors = random_case(seed)
        expected = reference(conv, *tensors)
        grad = torch.randn(expected.shape, dtype=torch.float64)
        used = [tensor for tensor in tensors if tensor is not None]
        expected_grads = torch.autograd.grad(expected, used, grad, allow_unused=True, materialize_grads=True)
        output, grads = run(conv, tensors, grad.float())
        torch.testing.assert_close(output, expected.float(), rtol=1e-5, atol=1e-5)
        for actual_grad, expected_grad in zip(grads, expected_grads, strict=True):
            torch.testing.assert_close(actual_grad, expected_grad.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('groups', 'deform_groups'), [(1, 1), (1, 2), (2, 1), (2, 4), (4, 2)])
def test_without_offsets_it_is_a_convolution_however_it_is_split(groups, deform_groups, monkeypatch):
    maps, weight = torch.randn(5, 8, 9, 7), torch.randn(12, 8 // groups, 3, 3)
    conv = DeformConv((2, 1), (1, 2), (1, 2), groups, deform_groups)
    expected = conv2d(maps, weight, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=groups)
    offset = torch.zeros(5, deform_groups * 18, *expected.shape[2:])
    torch.testing.assert_close(conv.forward(maps, offset, None, weight), expected, rtol=1e-4, atol=1e-4)
    grad = torch.randn_like(expected)
    whole = conv.backward(grad, maps, offset, None, weight)
    monkeypatch.setattr(module, '_MAX_NUMBERS', 2 * 8 * 9 * expected[0, 0].numel())
    split = conv.backward(grad, maps, offset, None, weight)
    torch.testing.assert_close(conv.forward(maps, offset, None, weight), expected, rtol=1e-4, atol=1e-4)
    for one, other in zip(vars(whole).values(), vars(split).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_offsets_that_are_not_finite_read_nothing():
    conv = DeformConv((1, 1), (0, 0), (1, 1), 1, 1)
    offset = torch.tensor([torch.nan, 0, torch.inf, 0, -1e30, 0, 0, 1e30]).view(1, 8, 1, 1)
    assert not conv.forward(torch.randn(1, 2, 2, 2), offset, None, torch.randn(1, 2, 2, 2)).any()


def test_half_precision_is_computed_in_float32():
    conv = DeformConv((1, 1), (1, 1), (1, 1), 1, 1)
    tensors = [torch.randn(2, 4, 6, 6), torch.randn(2, 18, 6, 6), torch.rand(2, 9, 6, 6), torch.randn(3, 4, 3, 3)]
    halves = [tensor.half() for tensor in tensors]
    output = conv.forward(*halves)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, conv.forward(*(half.float() for half in halves)))
