import pytest
import torch
from torch.nn import functional as F

from mmopt.ops.group_norm import group_norm


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('channels_last', [True, False])
def test_equals_torch_forward_and_backward(batch_size, channels_last):
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    grid = torch.randn(batch_size, 12, 5, 7).add_(3.0).to(memory_format=memory_format).requires_grad_()
    weight, bias = torch.randn(12, requires_grad=True), torch.randn(12, requires_grad=True)
    actual, expected = group_norm(grid, 4, weight, bias), F.group_norm(grid, 4, weight, bias)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * cotangent).sum(), (grid, weight, bias))
    torch.testing.assert_close(torch.autograd.grad((actual * cotangent).sum(), (grid, weight, bias)), wanted)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_maps_are_as_near_to_float32_as_torchs_own(dtype):
    grid = torch.randn(2, 64, 20, 24).to(memory_format=torch.channels_last)
    weight, bias = torch.rand(64), torch.randn(64)
    cotangent = torch.randn(grid.shape)

    def gradients(function, map_dtype: torch.dtype) -> list[torch.Tensor]:
        leaf = grid.to(map_dtype, copy=True).requires_grad_()
        params = [param.clone().requires_grad_() for param in (weight, bias)]
        (function(leaf, 16, *params) * cotangent.to(map_dtype)).sum().backward()
        return [leaf.grad.float(), *(param.grad for param in params)]

    exact = gradients(F.group_norm, torch.float32)
    for ours, theirs, truth in zip(gradients(group_norm, dtype), gradients(F.group_norm, dtype), exact, strict=True):
        assert (ours - truth).norm() < 1.5 * (theirs - truth).norm() + 1e-4 * truth.norm()


def test_the_fast_backward_is_really_taken():
    grid = torch.randn(1, 64, 6, 6).to(memory_format=torch.channels_last)
    params = torch.ones(64, requires_grad=True), torch.zeros(64, requires_grad=True)
    assert type(group_norm(grid, 16, *params).grad_fn).__name__ == '_CpuGroupNormBackward'
    assert type(group_norm(grid.contiguous(), 16, *params).grad_fn).__name__ == 'NativeGroupNormBackward0'
    assert type(group_norm(grid, 2, *params).grad_fn).__name__ == 'NativeGroupNormBackward0'
