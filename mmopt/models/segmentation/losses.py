"""Pixel losses of segmentation: cross-entropy at the label's size, the hard pixels of a batch, pixels near borders.

Every loss is a *sum* over pixels, divided by a number of the whole batch's labels; then micro-batches add up to the
batch. Which pixels are hard is another matter: that depends on all losses of the batch at once (see
:func:`hard_pixel_mean`). Nothing here reads a value on the host.

Shape letters: B batch, K classes, H W label, h w logits.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmopt.utils.mps import to_float64

__all__ = [
    'EDGE_BIT',
    'IGNORE_INDEX',
    'NEAR_BIT',
    'count_regions',
    'enlarge',
    'hard_pixel_mean',
    'kth_largest',
    'pixel_cross_entropy',
    'region_sum',
]

IGNORE_INDEX = 255
"""Label of pixels that do not count, where a byte holds the classes."""

EDGE_BIT, NEAR_BIT = 0, 1
"""Bits of a region map: on the band around class borders; within the distance of the boundary loss."""


def enlarge(logits_BKhw: Tensor, size: Sequence[int]) -> Tensor:
    """Bring logits to another size bilinearly, as ``F.interpolate`` does with ``align_corners=False``.

    On a CPU by two matrix products, which with their gradients take a third of the time of torch's interpolation.

    Args:
        logits_BKhw: float32.
        size: Height and width.

    Returns:
        Logits (B, K, H, W).
    """
    if logits_BKhw.device.type != 'cpu':
        return F.interpolate(logits_BKhw, size, mode='bilinear', align_corners=False)
    # What interpolation along one axis makes of each unit vector: its matrix.
    rows_hH, columns_wW = (
        F.interpolate(torch.eye(length)[None], wanted, mode='linear', align_corners=False)[0]
        for length, wanted in zip(logits_BKhw.shape[-2:], size, strict=True)
    )
    return rows_hH.T @ (logits_BKhw @ columns_wW)


def _cross_entropy(logits_BKhw: Tensor, label_BHW: Tensor, ignored: int) -> Tensor:
    # A channels-last layout would survive interpolation, and log-softmax over it takes a multiple of the time on a CPU.
    logits = logits_BKhw.float().contiguous()
    if logits.shape[-2:] != label_BHW.shape[-2:]:
        logits = enlarge(logits, label_BHW.shape[-2:])
    return F.cross_entropy(logits, label_BHW, ignore_index=ignored, reduction='none')


def pixel_cross_entropy(
    logits_BKhw: Tensor, label_BHW: Tensor, *, ignored: int = IGNORE_INDEX, recompute: bool = False
) -> Tensor:
    """Compute each pixel's cross-entropy in float32, 0 where the label is ignored.

    Args:
        logits_BKhw: Logits of any size; they are brought to the label's bilinearly.
        label_BHW: int64.
        ignored: Label of pixels that do not count.
        recompute: Keep the small logits alone for backward, and enlarge them again there: the enlarged logits and
            their softmax are the largest tensors of a training step.

    Returns:
        Losses (B, H, W).
    """
    if recompute and logits_BKhw.requires_grad:
        return checkpoint(
            _cross_entropy, logits_BKhw, label_BHW, ignored, use_reentrant=False, preserve_rng_state=False
        )
    return _cross_entropy(logits_BKhw, label_BHW, ignored)


def kth_largest(values: Tensor, k: Tensor) -> Tensor:
    """Find the k-th largest of non-negative float32 values without sorting and without waiting for the device.

    Non-negative floats are ordered as their bit patterns are: the pattern is found bit by bit, with one count each.

    Args:
        values: Any shape, at least 0.
        k: int64 scalar tensor, from 1 to the number of values.

    Returns:
        The value, a scalar.
    """
    patterns = values.detach().contiguous().view(torch.int32)
    found = torch.zeros((), dtype=torch.int32, device=values.device)
    for bit in range(30, -1, -1):
        candidate = found | (1 << bit)
        found = torch.where((patterns >= candidate).sum() >= k, candidate, found)
    return found.view(torch.float32)


def hard_pixel_mean(loss_BHW: Tensor, valid_BHW: Tensor, threshold: float, min_share: float) -> Tensor:
    """Average the losses of the hard pixels (OHEM).

    Hard are the pixels whose true class has a probability below ``threshold``; where they are fewer than ``min_share``
    of the valid ones, so many with the largest losses. Equal losses at the limit share what is left, so the mean is
    that of any choice among them. The choice depends on all pixels handed in: of the parts of a batch it is not that
    of the batch.

    Args:
        loss_BHW: Cross-entropies, 0 where not valid.
        valid_BHW: bool, pixels that count.
        threshold: Probability.
        min_share: Share of the valid pixels that is averaged at least.

    Returns:
        The mean, a scalar; 0 without a valid pixel.
    """
    fixed = loss_BHW.detach()
    at_least = (to_float64(valid_BHW.sum()) * min_share).long().clamp_(min=1).to(fixed.device)
    kth = kth_largest(fixed, at_least)
    enough = kth > -math.log(threshold)
    limit = kth.clamp(max=-math.log(threshold))
    above_BHW = (fixed > limit) & valid_BHW
    level_BHW = (fixed == limit) & valid_BHW
    num_above = above_BHW.sum()
    missing = torch.where(enough, 0, at_least - num_above).clamp(min=0)
    share = missing / level_BHW.sum().clamp(min=1)
    total = (loss_BHW * (above_BHW + level_BHW * share)).sum()
    return total / torch.where(enough, num_above, at_least)


def region_sum(loss_BHW: Tensor, regions_BHW: Tensor, bit: int) -> Tensor:
    """Sum the losses of the pixels whose region map has the bit set."""
    return (loss_BHW * (regions_BHW >> bit & 1)).sum()


def count_regions(regions_BHW: Tensor, valid_BHW: Tensor, bit: int) -> Tensor:
    """Count the valid pixels whose region map has the bit set: float32, at least 1."""
    return ((regions_BHW >> bit & 1).bool() & valid_BHW).sum().clamp(min=1).float()
