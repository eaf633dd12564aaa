"""Candidates of an image: of several sizes, and mirrored as well.

Shape letters: B batch, C channels, H W image, N candidates, K classes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['gather_candidates']


def gather_candidates(
    candidates: Callable[[Tensor], tuple[Tensor, Tensor]],
    images_BCHW: Tensor,
    *,
    scales: Sequence[float],
    flip: bool,
    divisor: int,
) -> tuple[Tensor, Tensor]:
    """Detect in each view of the images and bring the boxes back: suppression merges what they have in common.

    Args:
        candidates: Maps images to boxes (B, N, 4) in their pixels and scores (B, N, K).
        images_BCHW: Normalized images.
        scales: Factors of the size.
        flip: Detect in mirrored images as well.
        divisor: Sides of a scaled image are the next multiple of this.

    Returns:
        The boxes of all views in pixels of ``images_BCHW``, and their scores.
    """
    height, width = images_BCHW.shape[-2:]
    boxes, scores = [], []
    for scale in scales:
        size = [max(round(length * scale / divisor), 1) * divisor for length in (height, width)]
        view_BCHW = images_BCHW
        if size != [height, width]:
            view_BCHW = F.interpolate(images_BCHW, size, mode='bilinear', align_corners=False, antialias=scale < 1)
        for mirror in (False, True) if flip else (False,):
            boxes_BN4, scores_BNK = candidates(view_BCHW.flip(-1) if mirror else view_BCHW)
            if mirror:
                x1, y1, x2, y2 = boxes_BN4.unbind(dim=-1)
                boxes_BN4 = torch.stack((size[1] - x2, y1, size[1] - x1, y2), dim=-1)
            factor = [width / size[1], height / size[0]] * 2
            boxes.append(boxes_BN4 if factor == [1.0] * 4 else boxes_BN4 * boxes_BN4.new_tensor(factor))
            scores.append(scores_BNK)
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
