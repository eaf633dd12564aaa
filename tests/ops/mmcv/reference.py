"""What literal references share."""

import math

import torch
from torch import Tensor


def read_at(plane_HW: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return one bilinear sample of a map that is 0 outside, differentiable for the map and the place."""
    height, width = plane_HW.shape
    top, left = math.floor(y.item()), math.floor(x.item())
    value = plane_HW.new_zeros(())
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value = value + plane_HW[row, column] * (1 - (y - row).abs()) * (1 - (x - column).abs())
    return value


def assert_equal_with_gradients(
    actual: Tensor, expected: Tensor, actual_inputs: list[Tensor], expected_inputs: list[Tensor], case: object
) -> None:
    """Compare results in float32 with those in float64, and their gradients for a random weighting of the result."""

    def said(text: str) -> str:
        return f'{case}: {text}'

    torch.testing.assert_close(actual, expected.float(), rtol=1e-5, atol=1e-5, msg=said)
    weighting = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected_grads = torch.autograd.grad(expected, expected_inputs, weighting, materialize_grads=True)
    actual_grads = torch.autograd.grad(actual, actual_inputs, weighting.float())
    for actual_grad, expected_grad in zip(actual_grads, expected_grads, strict=True):
        torch.testing.assert_close(actual_grad, expected_grad.float(), rtol=1e-5, atol=1e-5, msg=said)
