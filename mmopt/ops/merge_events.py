"""From the events that overlapping windows find to those of a recording: joined, without duplicates, without overlaps.

Shape letters: N events; a row of five is start, stop, agent, target, action.
"""

import numpy as np
import torch

from mmopt.ops.segments import join_windows, segment_nms

__all__ = ['JOIN_MARGIN', 'NMS_IOU', 'SCORE_THRESHOLD', 'merge_windows', 'resolve_overlaps']

NMS_IOU = 0.3
"""Overlap with a better event of the same triple above which an event is dropped, unless told otherwise."""
JOIN_MARGIN = 8.0
"""Frames from a window's border within which an event counts as cut, unless told otherwise."""
SCORE_THRESHOLD = 0.5
"""Score from which an event counts, unless told otherwise."""


def merge_windows(
    rows_N5: np.ndarray, scores_N: np.ndarray, windows_N2: np.ndarray, nms_iou: float, join_margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the predictions of overlapping windows into those of a video.

    Pieces that window borders cut are joined first: were duplicates removed before, a cut piece with the better score
    could remove the whole event.

    Args:
        rows_N5: Predictions in frames of the video.
        windows_N2: The window each comes from.
        nms_iou: Overlap with a better prediction of the same triple above which a prediction is dropped.
        join_margin: See :func:`mmopt.ops.segments.join_windows`.

    Returns:
        Predictions and scores, ordered by start; whole frames.
    """
    if not len(rows_N5):
        return rows_N5.astype(np.int64).reshape(-1, 5), scores_N
    triples, group_N = np.unique(rows_N5[:, 2:].astype(np.int64), axis=0, return_inverse=True)
    joined, joined_scores, joined_groups = join_windows(
        torch.from_numpy(rows_N5[:, :2].astype(np.float64)),
        torch.from_numpy(scores_N),
        torch.from_numpy(group_N.reshape(-1)),
        torch.from_numpy(windows_N2.astype(np.float64)),
        join_margin,
    )
    kept = segment_nms(joined, joined_scores, nms_iou, joined_groups)
    segments, scores, groups = joined[kept].numpy(), joined_scores[kept].numpy(), joined_groups[kept].numpy()
    start = np.round(segments[:, 0])
    stop = np.maximum(np.round(segments[:, 1]), start + 1)
    merged = np.concatenate((start[:, None], stop[:, None], triples[groups]), axis=1).astype(np.int64)
    order = np.lexsort(merged.T[::-1])
    return merged[order], scores[order]


def resolve_overlaps(events_N5: np.ndarray, scores_N: np.ndarray) -> np.ndarray:
    """Give every frame of an agent-target pair to its best prediction.

    Args:
        events_N5: Start, stop, agent, target, action; whole frames.
        scores_N: Scores; among equals the earlier wins.

    Returns:
        int64 events of the same columns without overlaps within a pair, ordered by pair and start. A prediction that a
        better one divides becomes two.
    """
    events_N5 = events_N5.astype(np.int64)
    resolved = []
    for pair in sorted(set(map(tuple, events_N5[:, 2:4].tolist()))):
        members = np.nonzero((events_N5[:, 2:4] == pair).all(1))[0]
        action_T = np.full(events_N5[members, 1].max(), -1)
        for n in members[np.argsort(-scores_N[members], kind='stable')][::-1]:
            action_T[events_N5[n, 0] : events_N5[n, 1]] = events_N5[n, 4]
        edges = np.nonzero(np.diff(action_T, prepend=-1, append=-1))[0]
        resolved += [
            (start, stop, *pair, action_T[start])
            for start, stop in zip(edges[:-1], edges[1:], strict=True)
            if action_T[start] >= 0
        ]
    return np.array(resolved, dtype=np.int64).reshape(-1, 5)
