"""Long videos in chunks: which frames go together, and which labels lie in them.

Segments are half-open frame ranges (start, stop).
"""

import numpy as np

__all__ = ['cut_chunks', 'sample_frames', 'segments_in_chunk']


def cut_chunks(segments_N2: np.ndarray, start: int, stop: int, max_frames: int | None) -> list[tuple[int, int]]:
    """Cut a video into chunks so that a border never cuts a segment that fits into one.

    A border that would lie inside a segment moves back to where the segment begins. Cut are only segments longer than
    ``max_frames`` and chains of overlapping ones that are longer together.

    Args:
        segments_N2: Labeled ranges; they may overlap.
        start: First frame.
        stop: The frame after the last.
        max_frames: Most frames of a chunk; None makes one chunk.

    Returns:
        Ranges that cover the video without gaps.

    Raises:
        ValueError: If ``max_frames`` is below 1.
    """
    if max_frames is None:
        return [(start, stop)] if stop > start else []
    if max_frames < 1:
        raise ValueError(f'max_video_frames must be at least 1 or None, got {max_frames}.')
    # Those that no chunk can hold must not pull the border out of place for the others.
    fitting_N2 = segments_N2[segments_N2[:, 1] - segments_N2[:, 0] <= max_frames]
    chunks = []
    while start < stop:
        border = min(start + max_frames, stop)
        moved = _before_segments(fitting_N2, border)
        border = moved if moved > start else border
        chunks.append((start, border))
        start = border
    return chunks


def _before_segments(segments_N2: np.ndarray, border: int) -> int:
    """Move a border back until it lies in no segment."""
    while True:
        cut = segments_N2[(segments_N2[:, 0] < border) & (segments_N2[:, 1] > border)]
        if not len(cut):
            return border
        border = int(cut[:, 0].min())


def segments_in_chunk(segments_N2: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments of a chunk.

    Args:
        segments_N2: Ranges in frames of the video.
        start: First frame of the chunk.
        stop: The frame after its last.

    Returns:
        Which segments have a frame in it, and their ranges in frames of the chunk: shifted by its start and clipped.
    """
    shifted = np.clip(segments_N2, start, stop) - start
    inside = np.flatnonzero(shifted[:, 1] > shifted[:, 0])
    return inside, shifted[inside]


def sample_frames(start: int, stop: int, count: int) -> np.ndarray:
    """Choose ``count`` frames evenly from a range, its first and last among them.

    Args:
        start: First frame.
        stop: The frame after the last.
        count: How many; a shorter range repeats frames.

    Returns:
        int64 (count,).
    """
    return np.rint(np.linspace(start, stop - 1, count)).astype(np.int64)
