"""Ethograms: who did what to whom and when, as a picture.

Rows come in pairs: truth above prediction, one pair of rows per (agent, target). Pictures are uint8 RGB.
"""

import colorsys
from collections.abc import Sequence

import numpy as np

from mmopt.utils.picture_text import shorten, text_size, write_text
from mmopt.utils.time_axis import clock, round_ticks

__all__ = ['distinct_color', 'draw_time_axis', 'draw_timeline']

_WIDTH, _ROW, _LEFT, _TOP = 1200, 16, 170, 34
_INK, _PAPER, _LANE = (30, 30, 30), (255, 255, 255), (238, 238, 238)
_TEXT, _TITLE = 12, 15
_AXIS = 26
_SWATCH, _LEGEND_ROW, _LEGEND_GAP = 12, 18, 22


def distinct_color(number: int) -> tuple[int, int, int]:
    """Return the color of a class: those of neighbors differ, however many there are."""
    # Golden-ratio steps around the color wheel.
    red, green, blue = colorsys.hsv_to_rgb(
        number * 0.618 % 1, 0.75 if number % 2 else 0.55, 0.65 if number % 3 else 0.85
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def _pair_name(agent: int, target: int, names: Sequence[str]) -> str:
    if agent < 0:
        return 'session'

    def name(number: int) -> str:
        return names[number] if number < len(names) else f'mouse{number + 1}'

    return f'{name(agent)} self' if agent == target else f'{name(agent)} > {name(target)}'


def draw_time_axis(
    picture: np.ndarray, start_s: float, stop_s: float, left: int, width: int, top: int, lines_from: int
) -> None:
    """Draw ticks at round numbers and their times below a chart, in place.

    Args:
        picture: uint8 RGB.
        start_s: Time at the left edge.
        stop_s: Time at the right edge.
        left: Column of the left edge.
        width: Columns of the axis.
        top: Row below the chart.
        lines_from: Row from which faint lines lead to the ticks.
    """
    for tick in round_ticks(start_s, stop_s):
        column = left + min(round((tick - start_s) / (stop_s - start_s) * width), width - 1)
        faint = picture[lines_from:top, column]
        faint[:] = faint * 0.8
        picture[top : top + 5, column] = _INK
        text = clock(tick, stop_s)
        right = picture.shape[1] - text_size(text, _TEXT)[0] - 2
        write_text(picture, text, min(column - text_size(text, _TEXT)[0] // 2, right), top + 6, size=_TEXT, color=_INK)


def draw_timeline(
    truth_N5: np.ndarray | None,
    predicted_N5: np.ndarray | None,
    window: tuple[int, int],
    classes: Sequence[str],
    fps: float,
    title: str = '',
    names: Sequence[str] = (),
) -> np.ndarray:
    """Draw the events of a window or of a whole video.

    Args:
        truth_N5: Start, stop (frames of the video), agent, target, action of each true event; None leaves their rows
            out.
        predicted_N5: The same of the predictions; None leaves their rows out.
        window: First frame, and the frame after the last.
        classes: Names of the actions.
        fps: Frames per second, for the axis.
        title: Text at the top.
        names: Names of the animals; those without one are numbered.

    Returns:
        uint8 RGB picture.
    """
    sources = [
        (source, np.asarray(events, dtype=np.float64).reshape(-1, 5))
        for source, events in (('truth', truth_N5), ('pred', predicted_N5))
        if events is not None
    ]
    rows = np.concatenate([events for _, events in sources])
    pairs = sorted({(int(agent), int(target)) for agent, target in rows[:, 2:4]}) or [(-1, -1)]
    used = sorted({int(action) for action in rows[:, 4]})
    block = len(sources) * _ROW + 8
    bottom = _TOP + block * len(pairs)
    legend = _place_legend([classes[action] for action in used])
    height = bottom + _AXIS + _LEGEND_ROW * (1 + max((row for _, row in legend), default=-1)) + 6
    picture = np.full((height, _LEFT + _WIDTH + 20, 3), _PAPER, np.uint8)
    scale = _WIDTH / max(window[1] - window[0], 1)
    start_s, stop_s = window[0] / fps, window[1] / fps
    span = f'{clock(round(start_s, 1), stop_s)} to {clock(round(stop_s, 1), stop_s)}'
    write_text(picture, shorten(f'{title}   {span}', picture.shape[1] - 16, _TITLE), 8, 8, size=_TITLE, color=_INK)
    for place, pair in enumerate(pairs):
        for lane, (source, events) in enumerate(sources):
            top = _TOP + place * block + lane * _ROW
            picture[top : top + _ROW - 2, _LEFT : _LEFT + _WIDTH] = _LANE
            label = _pair_name(*pair, names) + (f' {source}' if len(sources) > 1 or source == 'truth' else '')
            write_text(picture, shorten(label, _LEFT - 14, _TEXT), 8, top - 1, size=_TEXT, color=_INK)
            for start, stop, agent, target, action in events:
                if (agent, target) == pair and start < window[1] and stop > window[0]:
                    first, last = (round((np.clip(frame, *window) - window[0]) * scale) for frame in (start, stop))
                    columns = slice(_LEFT + first, _LEFT + max(last, first + 1))
                    picture[top : top + _ROW - 2, columns] = distinct_color(int(action))
    draw_time_axis(picture, start_s, stop_s, _LEFT, _WIDTH, bottom - 8, bottom - 8)
    for (x, row), action in zip(legend, used, strict=True):
        y = bottom + _AXIS + _LEGEND_ROW * row
        picture[y + 2 : y + 2 + _SWATCH, x : x + _SWATCH] = distinct_color(action)
        write_text(picture, classes[action], x + _SWATCH + 6, y, size=_TEXT, color=_INK)
    return picture


def _place_legend(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return column and row of every name."""
    places, x, row = [], _LEFT, 0
    for name in names:
        width = _SWATCH + 6 + text_size(name, _TEXT)[0] + _LEGEND_GAP
        if x > _LEFT and x + width > _LEFT + _WIDTH:
            x, row = _LEFT, row + 1
        places.append((x, row))
        x += width
    return places
