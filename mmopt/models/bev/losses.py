"""Losses of BEV segmentation: class-balanced cross entropy where a cell counts, a pull to the priors where not.

Every function returns a *sum*; divided by a number that depends on the labels of the whole batch alone, the losses of
micro-batches add up to the loss of the batch.

Shape letters: B batch, P classes, Z X grid cells, D depth bins, H W feature map.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['balanced_bce_sum', 'depth_bins', 'depth_cross_entropy_sum', 'prior_uncertainty_sum']


def balanced_bce_sum(logits_BPZX: Tensor, labels_BPZX: Tensor, valid_B1ZX: Tensor, priors_P: Tensor) -> Tensor:
    """Sum the cross entropy of the cells that count, positives weighted by ``sqrt(1 / prior)``."""
    weight_P11 = priors_P.rsqrt()[:, None, None]
    labels = labels_BPZX.to(logits_BPZX.dtype)
    weight = torch.where(labels_BPZX, weight_P11, 1.0).masked_fill_(~valid_B1ZX, 0.0)
    return F.binary_cross_entropy_with_logits(logits_BPZX, labels, weight, reduction='sum')


def prior_uncertainty_sum(logits_BPZX: Tensor, valid_B1ZX: Tensor, priors_P: Tensor) -> Tensor:
    """Sum the cross entropy to the class priors over the cells that do not count."""
    target = priors_P[:, None, None].expand_as(logits_BPZX)
    weight = (~valid_B1ZX).to(logits_BPZX.dtype)
    return F.binary_cross_entropy_with_logits(logits_BPZX, target, weight, reduction='sum')


def depth_bins(depth_BHW: Tensor, depth_bound: tuple[float, float, float]) -> Tensor:
    """Return the bin of every depth in meters, or -1 where it is unknown (0) or outside the bins."""
    start, stop, step = depth_bound
    bins_BHW = ((depth_BHW - start) / step).floor().long()
    return torch.where((depth_BHW >= start) & (depth_BHW < stop), bins_BHW, -1)


def depth_cross_entropy_sum(logits_BDHW: Tensor, bins_BHW: Tensor) -> Tensor:
    """Sum the cross entropy of the depth distribution over the pixels whose depth is known."""
    # Summed here: with 4 axes and a reduction of its own, CUDA has no deterministic kernel.
    return F.cross_entropy(logits_BDHW, bins_BHW, ignore_index=-1, reduction='none').sum()
