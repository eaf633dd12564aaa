"""Filters turned to several orientations, of which one set is learned.

Paper: S2A-Net, https://arxiv.org/abs/2008.09397.

Shape letters: O and I output and input planes, E = orientations * height * width numbers of a filter, R rotations.
"""

from torch import Tensor

__all__ = ['turned_filters', 'turned_filters_backward']


def turned_filters(filters_OIE: Tensor, place_ER: Tensor) -> Tensor:
    """Return each filter in all rotations, (O, R, I, E).

    ``place_ER`` is where a number of the filter goes in each rotation, int64 from 0.
    """
    planes_out, planes_in, numbers = filters_OIE.shape
    shape = planes_out, place_ER.shape[1], planes_in, numbers
    turned = filters_OIE.new_zeros(shape)
    return turned.scatter_(3, place_ER.T[:, None].expand(shape), filters_OIE[:, None].expand(shape))


def turned_filters_backward(grad_ORIE: Tensor, place_ER: Tensor) -> Tensor:
    """Return the gradient (O, I, E) of :func:`turned_filters`."""
    return grad_ORIE.gather(3, place_ER.T[:, None].expand(grad_ORIE.shape)).sum(dim=1)
