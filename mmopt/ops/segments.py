"""Segments on a time axis: overlap, anchors, matching, non-maximum suppression, joining over windows.

A segment is half-open, ``(start, stop)``, in frames. Boxes have their own module: with one axis, everything fits into
one broadcast, and no loop over anchors or ground truth is left.

Shape letters: B batch, A anchors, G ground truth (padded), N M segments, P positions, S scales (anchor lengths).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmopt.ops.nms import nms

__all__ = [
    'IGNORED',
    'NEGATIVE',
    'decode_segments',
    'join_windows',
    'make_anchors',
    'match_anchors',
    'segment_iou',
    'segment_nms',
]

NEGATIVE = -1
"""Match index of an anchor that is background."""
IGNORED = -2
"""Match index of an anchor that takes no part in the loss: an ambiguous overlap, or padding."""


def segment_iou(first_N2: Tensor, second_M2: Tensor) -> Tensor:
    """Return the overlap of every pair.

    Args:
        first_N2: Segments; leading axes broadcast against those of ``second_M2``.
        second_M2: Segments.

    Returns:
        Intersection over union in [0, 1], shape ``(..., N, M)``; 0 where both segments are empty.
    """
    start_N1, stop_N1 = first_N2[..., :, None, 0], first_N2[..., :, None, 1]
    start_1M, stop_1M = second_M2[..., None, :, 0], second_M2[..., None, :, 1]
    shared_NM = (torch.minimum(stop_N1, stop_1M) - torch.maximum(start_N1, start_1M)).clamp(min=0)
    union_NM = (stop_N1 - start_N1) + (stop_1M - start_1M) - shared_NM
    return shared_NM / union_NM.clamp(min=1e-6)


def make_anchors(window: int, stride: int, lengths: Sequence[float]) -> Tensor:
    """Lay anchors of all lengths at every position.

    Args:
        window: Frames of the window; centers are 0, ``stride``, ... below it.
        stride: Frames between centers.
        lengths: Anchor lengths in frames.

    Returns:
        Segments of shape ``(P * S, 2)``, position-major; those near the border reach beyond it.
    """
    center_P1 = torch.arange(0, window, stride, dtype=torch.float32)[:, None]
    half_S = torch.tensor(lengths, dtype=torch.float32) / 2
    return torch.stack((center_P1 - half_S, center_P1 + half_S), dim=-1).flatten(0, 1)


def decode_segments(anchors_A2: Tensor, offsets_BA2: Tensor) -> Tensor:
    """Move both ends of every anchor by its predicted offset, in units of the anchor's length.

    Args:
        offsets_BA2: Offsets of start and stop; 0 leaves the anchor as it is.

    Returns:
        Segments of the offsets' shape; a stop may lie before its start.
    """
    length_A1 = (anchors_A2[..., 1] - anchors_A2[..., 0])[..., None]
    return anchors_A2 + offsets_BA2 * length_A1


def match_anchors(
    anchors_A2: Tensor,
    segments_BG2: Tensor,
    real_BG: Tensor,
    usable_BA: Tensor,
    positive_iou: float = 0.5,
    negative_iou: float = 0.4,
) -> Tensor:
    """Give each anchor its ground truth, for a whole batch at once.

    An anchor is positive from ``positive_iou`` on (with the segment it overlaps most, the first of equals), negative
    below ``negative_iou`` and ignored between. The best usable anchor of every segment is positive whatever its
    overlap; where two segments share it, the later segment has it.

    Args:
        segments_BG2: Ground truth, padded to the longest list of the batch.
        real_BG: bool; False for padding of the list.
        usable_BA: bool; False for anchors whose center is padding of the window.
        positive_iou: Overlap from which an anchor is positive.
        negative_iou: Overlap below which it is negative.

    Returns:
        int64 of shape ``(B, A)``: index of the ground truth, or :data:`NEGATIVE`, or :data:`IGNORED`.
    """
    num_segments = segments_BG2.shape[1]
    background_BA = torch.where(usable_BA, NEGATIVE, IGNORED)
    if not num_segments:
        return background_BA
    # Ground truth before anchors: the reductions over anchors then run along contiguous memory.
    iou_BGA = segment_iou(segments_BG2, anchors_A2)
    iou_BGA = iou_BGA.masked_fill_(~(real_BG[:, :, None] & usable_BA[:, None]), -1.0)
    best_iou_BA, best_BA = iou_BGA.max(dim=1)
    match_BA = torch.where(best_iou_BA >= negative_iou, IGNORED, background_BA)
    match_BA = torch.where(best_iou_BA >= positive_iou, best_BA, match_BA)
    top_BG, anchor_BG = iou_BGA.max(dim=2)
    number_BG = torch.arange(num_segments, device=segments_BG2.device).expand_as(anchor_BG)
    number_BG = torch.where(top_BG > 0, number_BG, -1)
    forced_BA = torch.full_like(match_BA, -1).scatter_reduce_(1, anchor_BG, number_BG, reduce='amax')
    return torch.where(forced_BA >= 0, forced_BA, match_BA)


def segment_nms(segments_N2: Tensor, scores_N: Tensor, threshold: float, groups_N: Tensor | None = None) -> Tensor:
    """Suppress segments by their overlap; see :func:`mmopt.ops.nms.nms`."""
    return nms(segments_N2, scores_N, threshold, groups_N, segment_iou)


def join_windows(
    segments_N2: Tensor, scores_N: Tensor, groups_N: Tensor, windows_N2: Tensor, margin: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Join the pieces of events that window borders cut.

    A segment is open at its start (stop) when that lies within ``margin`` of its window's start (stop). Two segments
    of one group and of different windows belong to one event when the earlier is open at its stop or the later at its
    start, and they overlap or lie within ``margin`` of each other. An event has the mean score of its pieces, weighted
    by their lengths: a weak piece that connects two events must not have their score.

    Args:
        segments_N2: Segments in frames of the video.
        groups_N: int; only segments of one group (action, agent, target) are joined.
        windows_N2: The window each was found in, in frames of the video. Borders of the video itself count as well:
            a segment there has nothing to be joined with.
        margin: Frames.

    Returns:
        Segments, scores and groups of the events, ordered by group and start.
    """
    if not len(segments_N2):
        return segments_N2, scores_N, groups_N
    order = sorted(range(len(segments_N2)), key=lambda n: (int(groups_N[n]), float(segments_N2[n, 0])))
    rows = zip(segments_N2.tolist(), scores_N.tolist(), groups_N.tolist(), windows_N2.tolist(), strict=True)
    pieces = list(rows)
    # Start, stop, sum of score x length, group, window and openness of the piece that ends last, sum of lengths.
    events: list[list] = []
    for (start, stop), score, group, window in (pieces[n] for n in order):
        open_start, open_stop = start <= window[0] + margin, stop >= window[1] - margin
        last = events[-1] if events else None
        joins = (
            last is not None
            and last[3] == group
            and last[4] != window
            and (last[5] or open_start)
            and start <= last[1] + margin
        )
        if last is None or not joins:
            events.append([start, stop, score * (stop - start), group, window, open_stop, stop - start])
            continue
        last[2] += score * (stop - start)
        last[6] += stop - start
        if stop > last[1]:
            last[1], last[4], last[5] = stop, window, open_stop
    like = segments_N2.new_tensor
    segments = like([event[:2] for event in events])
    return (
        segments,
        scores_N.new_tensor([e[2] / max(e[6], 1e-6) for e in events]),
        groups_N.new_tensor([e[3] for e in events]),
    )
