"""Backward passes of functions that are differentiable themselves."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ['write_gradients']


def write_gradients(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad_output: Tensor, targets: tuple[Tensor, ...]
) -> None:
    """Compute a function again for its gradients, and write them."""
    free = [tensor.detach().requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        output = function(*free)
    if not output.requires_grad:  # nothing was read: no regions
        for target in targets:
            target.zero_()
        return
    gradients = torch.autograd.grad(output, free, grad_output.to(output.dtype), materialize_grads=True)
    for target, gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)
