"""The time line of a recording: the most probable action, and how probable each of them is.

Shape letters: T frames, K classes. Pictures are uint8 RGB.
"""

from collections.abc import Sequence

import numpy as np

from mmopt.utils.picture_text import shorten, text_size, write_text
from mmopt.utils.time_axis import clock
from mmopt.utils.timeline import distinct_color, draw_time_axis

__all__ = ['draw_actions']

_WIDTH, _TOP, _LANE, _ROW, _AXIS = 1200, 38, 28, 18, 28
_PAPER, _EMPTY, _INK = (255, 255, 255), (238, 238, 238), (30, 30, 30)
_TEXT, _TITLE = 12, 15


def draw_actions(
    spans: Sequence[tuple[int, int, int]],
    probability_TK: np.ndarray,
    classes: Sequence[str],
    fps: float,
    title: str,
) -> np.ndarray:
    """Draw a time line.

    Args:
        spans: Start, stop and class of what is most probable.
        probability_TK: NaN where nothing is known.
        classes: Names.
        fps: Frames per second, for the axis.
        title: Text at the top.

    Returns:
        uint8 RGB picture.
    """
    num_frames = len(probability_TK)
    left = 16 + max(text_size(name, _TEXT)[0] for name in (*classes, 'action'))
    bottom = _TOP + _LANE + 8 + _ROW * len(classes)
    picture = np.full((bottom + _AXIS, left + _WIDTH + 20, 3), _PAPER, np.uint8)
    length_s = num_frames / fps
    heading = f'{title}   {clock(0, length_s)} to {clock(round(length_s, 1), length_s)}'
    write_text(picture, shorten(heading, picture.shape[1] - 16, _TITLE), 8, 8, size=_TITLE, color=_INK)

    def column(frame: int) -> int:
        return left + round(frame * _WIDTH / max(num_frames, 1))

    write_text(picture, 'action', 8, _TOP + 6, size=_TEXT, color=_INK)
    picture[_TOP : _TOP + _LANE, left : left + _WIDTH] = _EMPTY
    for start, stop, label in spans:
        first, last = column(start), max(column(stop), column(start) + 1)
        color = distinct_color(label)
        picture[_TOP : _TOP + _LANE, first:last] = color
        if text_size(classes[label], _TEXT)[0] + 6 <= last - first:
            is_dark = np.dot(color, (0.299, 0.587, 0.114)) < 140
            write_text(picture, classes[label], first + 4, _TOP + 6, size=_TEXT, color=_PAPER if is_dark else (0, 0, 0))
    # The most probable moment of a column counts: of a long recording a column shows many frames.
    edges = np.linspace(0, num_frames, _WIDTH + 1).astype(np.int64)
    firsts = np.minimum(edges[:-1], max(num_frames - 1, 0))
    share_WK = np.fmax.reduceat(probability_TK, firsts, axis=0)
    for label, name in enumerate(classes):
        top = _TOP + _LANE + 8 + _ROW * label
        write_text(picture, name, 8, top, size=_TEXT, color=_INK)
        share_W1 = np.nan_to_num(share_WK[:, label])[:, None]
        colored = share_W1 * np.array(distinct_color(label)) + (1 - share_W1) * np.array(_EMPTY)
        picture[top + 1 : top + _ROW - 1, left : left + _WIDTH] = np.rint(colored).astype(np.uint8)
    draw_time_axis(picture, 0.0, length_s, left, _WIDTH, bottom, _TOP + _LANE + 8)
    return picture
