"""Functions of `mmcv._ext` for losses.

Where no weights per class are given, the extension gets an empty tensor.
"""

from collections.abc import Callable

from torch import Tensor

from mmopt.ops.mmcv.layers.focal_loss import (
    sigmoid_focal_loss,
    sigmoid_focal_loss_backward,
    softmax_focal_loss,
    softmax_focal_loss_backward,
)

__all__ = ['LOSS_FUNCTIONS']


def _or_none(weight: Tensor) -> Tensor | None:
    return weight if weight.numel() else None


def _sigmoid_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float) -> None:
    output.copy_(sigmoid_focal_loss(input, target, _or_none(weight), gamma, alpha))


def _sigmoid_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    grad_input.copy_(sigmoid_focal_loss_backward(input, target, _or_none(weight), gamma, alpha))


def _softmax_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float) -> None:
    output.copy_(softmax_focal_loss(input, target, _or_none(weight), gamma, alpha))


def _softmax_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    grad_input.copy_(softmax_focal_loss_backward(input, target, _or_none(weight), gamma, alpha))


LOSS_FUNCTIONS: dict[str, Callable] = {
    'sigmoid_focal_loss_forward': _sigmoid_forward,
    'sigmoid_focal_loss_backward': _sigmoid_backward,
    'softmax_focal_loss_forward': _softmax_forward,
    'softmax_focal_loss_backward': _softmax_backward,
}
