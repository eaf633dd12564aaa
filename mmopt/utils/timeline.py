"""Ethograms: who did what to whom and when, as a picture.

Rows come in pairs: truth above prediction, one pair of rows per (agent, target). Pictures are uint8 RGB.
"""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

__all__ = ['draw_timeline']

_WIDTH, _ROW, _LEFT, _TOP = 1200, 16, 170, 34
_INK, _PAPER, _LANE = (30, 30, 30), (255, 255, 255), (238, 238, 238)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def _color(number: int) -> tuple[int, int, int]:
    # Golden-ratio steps around the color wheel keep neighbors apart whatever the number of classes.
    red, green, blue = colorsys.hsv_to_rgb(
        number * 0.618 % 1, 0.75 if number % 2 else 0.55, 0.65 if number % 3 else 0.85
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def _pair_name(agent: int, target: int) -> str:
    if agent < 0:
        return 'session'
    return f'mouse{agent + 1} {"self" if agent == target else f"> mouse{target + 1}"}'


def draw_timeline(
    truth_N5: np.ndarray,
    predicted_N5: np.ndarray | None,
    window: tuple[int, int],
    classes: Sequence[str],
    fps: float,
    title: str = '',
) -> np.ndarray:
    """Draw the events of a window or of a whole video.

    Args:
        truth_N5: Start, stop (frames of the video), agent, target, action of each true event.
        predicted_N5: The same of the predictions; None leaves their rows out.
        window: First frame, and the frame after the last.
        classes: Names of the actions.
        fps: Frames per second, for the axis.
        title: Text at the top.

    Returns:
        uint8 RGB picture.
    """
    sources = [('truth', truth_N5)] + ([('pred', predicted_N5)] if predicted_N5 is not None else [])
    rows = np.concatenate([np.asarray(events, dtype=np.float64).reshape(-1, 5) for _, events in sources])
    pairs = sorted({(int(agent), int(target)) for agent, target in rows[:, 2:4]}) or [(-1, -1)]
    used = sorted({int(action) for action in rows[:, 4]})
    block = len(sources) * _ROW + 8
    legend_lines = -(-len(used) // 6)
    height = _TOP + block * len(pairs) + 28 + 18 * legend_lines
    picture = np.full((height, _LEFT + _WIDTH + 20, 3), _PAPER, np.uint8)
    scale = _WIDTH / max(window[1] - window[0], 1)

    def write(text: str, x: int, y: int, size: float = 0.42) -> None:
        cv2.putText(picture, text, (x, y), _FONT, size, _INK, 1, cv2.LINE_AA)

    write(f'{title}  {window[0] / fps:.1f}-{window[1] / fps:.1f} s', 8, 20, 0.5)
    for place, pair in enumerate(pairs):
        for lane, (source, events) in enumerate(sources):
            top = _TOP + place * block + lane * _ROW
            picture[top : top + _ROW - 2, _LEFT : _LEFT + _WIDTH] = _LANE
            write(f'{_pair_name(*pair)} {source}', 8, top + 11)
            for start, stop, agent, target, action in np.asarray(events, dtype=np.float64).reshape(-1, 5):
                if (agent, target) == pair:
                    first, last = (round((np.clip(frame, *window) - window[0]) * scale) for frame in (start, stop))
                    columns = slice(_LEFT + first, _LEFT + max(last, first + 1))
                    picture[top : top + _ROW - 2, columns] = _color(int(action))
    bottom = _TOP + block * len(pairs) + 12
    for tick in np.linspace(*window, 6):
        write(f'{tick / fps:.0f} s', _LEFT + round((tick - window[0]) * scale) - 8, bottom)
    for place, action in enumerate(used):
        x, y = _LEFT + place % 6 * 195, bottom + 16 + 18 * (place // 6)
        picture[y - 9 : y + 1, x : x + 12] = _color(action)
        write(classes[action], x + 18, y)
    return picture
