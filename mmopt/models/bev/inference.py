"""Class probabilities of the ground, averaged over an image and its mirror image.

Shape letters: B batch, P classes, Z X grid cells, H W image.
"""

from collections.abc import Callable

from torch import Tensor

__all__ = ['mean_probability']


def mean_probability(
    logits: Callable[[Tensor, Tensor], Tensor], images_B3HW: Tensor, intrinsics_B33: Tensor, *, flip: bool
) -> Tensor:
    """Average the probabilities of the views of an image.

    Args:
        logits: Maps images and camera matrices to logits (B, P, Z, X).
        images_B3HW: Normalized images.
        intrinsics_B33: Their camera matrices.
        flip: Average those of the mirror image as well; the grid reaches as far to the left as to the right.

    Returns:
        float32 probabilities (B, P, Z, X).
    """
    probability_BPZX = logits(images_B3HW, intrinsics_B33).float().sigmoid()
    if not flip:
        return probability_BPZX
    mirrored_B33 = intrinsics_B33.clone()
    mirrored_B33[:, 0, 2] = images_B3HW.shape[-1] - 1 - intrinsics_B33[:, 0, 2]
    # Of a camera without skew: x to the left becomes x to the right.
    mirrored_BPZX = logits(images_B3HW.flip(-1), mirrored_B33).float().sigmoid().flip(-1)
    return (probability_BPZX + mirrored_BPZX) / 2
