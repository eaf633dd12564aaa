"""Anchor sizes from the data's own distribution: k-means with 1 - IoU as the distance.

Paper: Redmon and Farhadi, "YOLO9000", https://arxiv.org/abs/1612.08242, section "Dimension Clusters". It holds in any
number of dimensions: lengths of intervals (D = 1), widths and heights of boxes (D = 2).

Shape letters: N sizes, K anchors, D dimensions.
"""

import numpy as np

__all__ = ['anchor_recall', 'fit_anchors', 'size_iou']


def size_iou(sizes_ND: np.ndarray, anchors_KD: np.ndarray) -> np.ndarray:
    """Return the IoU of every size with every anchor about one center, shape (N, K)."""
    shared_NK = np.minimum(sizes_ND[:, None], anchors_KD[None]).prod(axis=-1)
    return shared_NK / (sizes_ND.prod(axis=-1)[:, None] + anchors_KD.prod(axis=-1)[None] - shared_NK)


def anchor_recall(sizes_ND: np.ndarray, anchors_KD: np.ndarray, min_iou: float = 0.5) -> float:
    """Return the share of sizes that some anchor overlaps by ``min_iou`` or more."""
    return float((size_iou(sizes_ND, anchors_KD).max(axis=1) >= min_iou).mean())


def fit_anchors(sizes_ND: np.ndarray, num_anchors: int, seed: int = 0, restarts: int = 10) -> np.ndarray:
    """Find anchors with the best mean IoU.

    Args:
        sizes_ND: Positive sizes.
        num_anchors: Anchors K; no more than distinct sizes.
        seed: Of the starts.
        restarts: Starts, of which the best result is kept.

    Returns:
        Anchors (K, D), smallest first.

    Raises:
        ValueError: If a size is not positive, or there are fewer distinct sizes than anchors.
    """
    sizes_ND = np.asarray(sizes_ND, dtype=np.float64)
    if (sizes_ND <= 0).any():
        raise ValueError(f'sizes must be positive, the smallest is {sizes_ND.min()}.')
    distinct = np.unique(sizes_ND, axis=0)
    if len(distinct) < num_anchors:
        raise ValueError(f'{num_anchors} anchors need as many distinct sizes, there are {len(distinct)}.')
    rng = np.random.default_rng(seed)
    best, best_iou = distinct[:num_anchors], -1.0
    for _ in range(restarts):
        anchors_KD = distinct[rng.choice(len(distinct), num_anchors, replace=False)]
        for _ in range(100):
            nearest_N = size_iou(sizes_ND, anchors_KD).argmax(axis=1)
            # The median: a mean would be drawn to the few very long ones, which matter little to the IoU.
            moved_KD = np.stack(
                [
                    np.median(sizes_ND[nearest_N == k], axis=0) if (nearest_N == k).any() else anchors_KD[k]
                    for k in range(num_anchors)
                ]
            )
            if np.array_equal(moved_KD, anchors_KD):
                break
            anchors_KD = moved_KD
        mean_iou = size_iou(sizes_ND, anchors_KD).max(axis=1).mean()
        if mean_iou > best_iou:
            best, best_iou = anchors_KD, mean_iou
    return best[np.argsort(best.prod(axis=1), kind='stable')]
