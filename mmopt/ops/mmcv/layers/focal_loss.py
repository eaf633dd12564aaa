"""Focal loss of classes that are told apart by a sigmoid each, or by one softmax, and its gradients in closed form.

Paper: https://arxiv.org/abs/1708.02002. With p the probability of the label: -alpha (1 - p)^gamma log(p); for all
others in the sigmoid's case, with p their probability: -(1 - alpha) p^gamma log(1 - p).

Shape letters: N samples, C classes.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = [
    'sigmoid_focal_loss',
    'sigmoid_focal_loss_backward',
    'softmax_focal_loss',
    'softmax_focal_loss_backward',
]


def sigmoid_focal_loss(
    logits_NC: Tensor, labels_N: Tensor, weight_C: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Compute the loss of each class of each sample.

    Args:
        logits_NC: Before the sigmoid.
        labels_N: int64 in [0, C]; C is background: no class is right.
        weight_C: Factor of a sample's losses by its label; background counts fully.
        gamma: How little the easy ones weigh.
        alpha: Factor of the right class; the others' is 1 - alpha.

    Returns:
        (N, C), in at least float32.
    """
    _, wrong_NC, factor_NC = _sigmoid_terms(logits_NC, labels_N, weight_C, alpha)
    return -factor_NC * wrong_NC.sigmoid().pow(gamma) * logsigmoid(-wrong_NC)


def sigmoid_focal_loss_backward(
    logits_NC: Tensor, labels_N: Tensor, weight_C: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Return the derivative of each loss of :func:`sigmoid_focal_loss` for its own logit, (N, C)."""
    sign_NC, wrong_NC, factor_NC = _sigmoid_terms(logits_NC, labels_N, weight_C, alpha)
    wrong_p_NC = wrong_NC.sigmoid()
    slope_NC = wrong_p_NC - gamma * (1 - wrong_p_NC) * logsigmoid(-wrong_NC)
    return sign_NC * factor_NC * wrong_p_NC.pow(gamma) * slope_NC


def _sigmoid_terms(
    logits_NC: Tensor, labels_N: Tensor, weight_C: Tensor | None, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a sign, the logits of being wrong (logits times sign) and the losses' factors, each (N, C)."""
    logits_NC = logits_NC.to(torch.promote_types(logits_NC.dtype, torch.float32))
    is_right_NC = labels_N[:, None] == torch.arange(logits_NC.shape[1], device=logits_NC.device)
    sign_NC = 1 - 2 * is_right_NC.to(logits_NC.dtype)
    factor_NC = torch.where(is_right_NC, alpha, 1 - alpha).to(logits_NC.dtype)
    if weight_C is not None:
        factor_NC = factor_NC * _weight_of(labels_N, weight_C)[:, None]
    return sign_NC, logits_NC * sign_NC, factor_NC


def softmax_focal_loss(
    probabilities_NC: Tensor, labels_N: Tensor, weight_C: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Compute the loss of each sample.

    Args:
        probabilities_NC: Probabilities: the softmax is already taken.
        labels_N: int64 in [0, C); a sample with any other label has no loss.
        weight_C: Factor of a sample's loss by its label.
        gamma: How little the easy ones weigh.
        alpha: Factor of all losses.

    Returns:
        (N,), in at least float32.
    """
    right_N, log_N, factor_N = _softmax_terms(probabilities_NC, labels_N, weight_C, alpha)
    return -factor_N * (1 - right_N).pow(gamma) * log_N


def softmax_focal_loss_backward(
    probabilities_NC: Tensor, labels_N: Tensor, weight_C: Tensor | None, gamma: float, alpha: float
) -> Tensor:
    """Return the derivative of each loss of :func:`softmax_focal_loss` for the logits before the softmax, (N, C)."""
    right_N, log_N, factor_N = _softmax_terms(probabilities_NC, labels_N, weight_C, alpha)
    wrong_N = 1 - right_N
    # At a probability of 1 the power of gamma - 1 is infinite for gamma below 1; its product with the logarithm is 0.
    power_N = torch.where(wrong_N > 0, wrong_N.pow(gamma - 1), 0)
    slope_N = factor_N * (gamma * power_N * right_N * log_N - wrong_N.pow(gamma))
    is_right_NC = labels_N[:, None] == torch.arange(probabilities_NC.shape[1], device=labels_N.device)
    return slope_N[:, None] * (is_right_NC.to(right_N.dtype) - probabilities_NC)


def _softmax_terms(
    probabilities_NC: Tensor, labels_N: Tensor, weight_C: Tensor | None, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the label's probability, its logarithm and the loss's factor, each (N,)."""
    probabilities_NC = probabilities_NC.to(torch.promote_types(probabilities_NC.dtype, torch.float32))
    has_label_N = (labels_N >= 0) & (labels_N < probabilities_NC.shape[1])
    right_N = probabilities_NC.gather(1, torch.where(has_label_N, labels_N, 0)[:, None])[:, 0]
    # The smallest normal number: the logarithm of a probability that underflowed stays finite.
    log_N = right_N.clamp(min=torch.finfo(right_N.dtype).tiny).log()
    factor_N = torch.where(has_label_N, alpha, 0.0).to(right_N.dtype)
    if weight_C is not None:
        factor_N = factor_N * _weight_of(labels_N, weight_C)
    return right_N, log_N, factor_N


def _weight_of(labels_N: Tensor, weight_C: Tensor) -> Tensor:
    has_label_N = (labels_N >= 0) & (labels_N < len(weight_C))
    return torch.where(has_label_N, weight_C[torch.where(has_label_N, labels_N, 0)], 1)
