"""Overlapping windows over a recording."""

__all__ = ['window_starts']


def window_starts(num_frames: int, window: int, overlap: int) -> list[int]:
    """Return where windows begin that cover a video; the last one is moved back so that it ends with the video."""
    last = max(num_frames - window, 0)
    return [*range(0, last, window - overlap), last]
