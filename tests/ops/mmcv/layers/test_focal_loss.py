"""Focal losses against their formula, number by number in float64, and their gradients against autograd's."""

import math

import pytest
import torch
from torch import Tensor

from mmopt.ops.mmcv.layers.focal_loss import (
    sigmoid_focal_loss,
    sigmoid_focal_loss_backward,
    softmax_focal_loss,
    softmax_focal_loss_backward,
)


def random_case(seed: int, background: bool) -> tuple[Tensor, Tensor, Tensor | None, float, float]:
    rng = torch.Generator().manual_seed(seed)
    num, classes = seed % 5, 1 + seed % 4
    logits = torch.randn(num, classes, generator=rng, dtype=torch.float64) * 3
    labels = torch.randint(0, classes + background, (num,), generator=rng)
    weight = torch.rand(classes, generator=rng, dtype=torch.float64) + 0.5 if seed % 3 == 0 else None
    return logits, labels, weight, (0.0, 0.5, 1.0, 2.0)[seed % 4], (0.25, 0.6)[seed % 2]


def sigmoid_reference(logits: Tensor, labels: Tensor, weight: Tensor | None, gamma: float, alpha: float) -> Tensor:
    loss = torch.zeros_like(logits)
    for n, label in enumerate(labels.tolist()):
        factor = 1.0 if weight is None or label == logits.shape[1] else weight[label].item()
        for c in range(logits.shape[1]):
            p = 1 / (1 + math.exp(-logits[n, c].item()))
            if c == label:
                loss[n, c] = -alpha * (1 - p) ** gamma * math.log(p) * factor
            else:
                loss[n, c] = -(1 - alpha) * p**gamma * math.log(1 - p) * factor
    return loss


def softmax_reference(logits: Tensor, labels: Tensor, weight: Tensor | None, gamma: float, alpha: float) -> Tensor:
    loss = torch.zeros(len(logits), dtype=torch.float64)
    for n, label in enumerate(labels.tolist()):
        exps = [math.exp(value) for value in logits[n].tolist()]
        p = exps[label] / sum(exps)
        loss[n] = -alpha * (1 - p) ** gamma * math.log(p) * (1.0 if weight is None else weight[label].item())
    return loss


def as_float(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.float()


def slope_of(loss, logits: Tensor, step: float = 1e-6) -> Tensor:
    """Return the derivative of the sum of a loss for each logit, by central differences."""
    slope = torch.zeros_like(logits)
    for n in range(logits.shape[0]):
        for c in range(logits.shape[1]):
            shift = torch.zeros_like(logits)
            shift[n, c] = step
            slope[n, c] = (loss(logits + shift).sum() - loss(logits - shift).sum()) / (2 * step)
    return slope


def test_the_sigmoid_loss_and_its_gradient_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        logits, labels, weight, gamma, alpha = random_case(seed, background=True)
        args = (labels, as_float(weight), gamma, alpha)
        expected = sigmoid_reference(logits, labels, weight, gamma, alpha)
        torch.testing.assert_close(sigmoid_focal_loss(logits.float(), *args), expected.float(), rtol=1e-5, atol=1e-5)
        slope = slope_of(lambda x: sigmoid_reference(x, labels, weight, gamma, alpha), logits)  # noqa: B023 (called here)
        torch.testing.assert_close(
            sigmoid_focal_loss_backward(logits.float(), *args), slope.float(), rtol=1e-5, atol=1e-5
        )


def test_the_softmax_loss_and_its_gradient_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        logits, labels, weight, gamma, alpha = random_case(seed, background=False)
        args = (labels, as_float(weight), gamma, alpha)
        probabilities = logits.float().softmax(dim=1)
        expected = softmax_reference(logits, labels, weight, gamma, alpha)
        torch.testing.assert_close(softmax_focal_loss(probabilities, *args), expected.float(), rtol=1e-5, atol=1e-5)
        slope = slope_of(lambda x: softmax_reference(x, labels, weight, gamma, alpha), logits)  # noqa: B023 (called here)
        torch.testing.assert_close(
            softmax_focal_loss_backward(probabilities, *args), slope.float(), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_extreme_logits_give_finite_losses_and_gradients(gamma):
    logits = torch.tensor([[-200.0, 200.0, 0.0], [200.0, -200.0, 90.0]])
    labels = torch.tensor([0, 0])
    assert sigmoid_focal_loss(logits, labels, None, gamma, 0.25).isfinite().all()
    assert sigmoid_focal_loss_backward(logits, labels, None, gamma, 0.25).isfinite().all()
    assert softmax_focal_loss(logits.softmax(dim=1), labels, None, gamma, 0.25).isfinite().all()
    assert softmax_focal_loss_backward(logits.softmax(dim=1), labels, None, gamma, 0.25).isfinite().all()


def test_a_label_below_zero_has_no_softmax_loss():
    probabilities = torch.full((2, 2), 0.5)
    labels = torch.tensor([-1, 1])
    loss = softmax_focal_loss(probabilities, labels, torch.tensor([2.0, 3.0]), 2.0, 0.25)
    assert loss[0] == 0
    assert not softmax_focal_loss_backward(probabilities, labels, None, 2.0, 0.25)[0].any()
