"""Pictures of keypoints: the driver as a skeleton, frame by frame.

Shape letters: T frames, K keypoints. Pictures are uint8 RGB.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.structures.driver_skeleton import DRIVER_EDGES, DRIVER_KEYPOINTS
from mmopt.utils.picture_text import write_text

__all__ = ['draw_skeletons']

_PANEL, _MARGIN, _GAP, _MAX_FRAMES = 240, 24, 6, 8
_PAPER, _BODY, _LEFT, _RIGHT, _FAINT = (250, 250, 250), (60, 60, 60), (20, 110, 200), (205, 90, 20), (120, 120, 120)
_SUB = 4  # bits of a pixel's fraction in OpenCV's coordinates


def draw_skeletons(points_TKC: np.ndarray, frames: Sequence[int]) -> np.ndarray:
    """Draw keypoints seen from the front, a panel per frame, all in one scale.

    The driver's left side is blue, the right one orange; the nose is a ring. A point that was not found (all 0) and its
    lines are left out. The vertical axis points to where the nose is from the neck: data sets differ in it.

    Args:
        points_TKC: Coordinates x, y and possibly a third, which is not drawn.
        frames: Number of each frame; of more than 8, evenly spaced ones are drawn.

    Returns:
        The picture.
    """
    chosen = np.unique(np.linspace(0, len(points_TKC) - 1, min(len(points_TKC), _MAX_FRAMES)).round().astype(int))
    xy_TK2 = points_TKC[chosen, :, :2].astype(np.float64)
    found_TK = points_TKC[chosen].any(axis=-1)
    place_TK2 = _to_panel(xy_TK2, found_TK)
    panels = []
    for place_K2, found_K, number in zip(place_TK2, found_TK, chosen.tolist(), strict=True):
        panel = np.full((_PANEL, _PANEL, 3), _PAPER, np.uint8)
        _draw_one(panel, place_K2, found_K)
        write_text(panel, f'frame {frames[number]}', 6, 4, size=12, color=_FAINT)
        panels.append(np.pad(panel, ((0, 0), (0, _GAP), (0, 0)), constant_values=255))
    return np.concatenate(panels, axis=1)


def _to_panel(xy_TK2: np.ndarray, found_TK: np.ndarray) -> np.ndarray:
    """Scale what was found in any frame into a panel, upright."""
    seen_N2 = xy_TK2[found_TK]
    if not len(seen_N2):
        return np.zeros_like(xy_TK2)
    low, high = seen_N2.min(axis=0), seen_N2.max(axis=0)
    scale = (_PANEL - 2 * _MARGIN) / max((high - low).max(), 1e-9)
    place_TK2 = (xy_TK2 - (low + high) / 2) * scale
    if _points_up(xy_TK2, found_TK):
        place_TK2[..., 1] *= -1  # rows of a picture grow downward
    return place_TK2 + _PANEL / 2


def _points_up(xy_TK2: np.ndarray, found_TK: np.ndarray) -> bool:
    if xy_TK2.shape[1] != len(DRIVER_KEYPOINTS):
        return False
    nose, neck = DRIVER_KEYPOINTS.index('nose'), DRIVER_KEYPOINTS.index('neck')
    both_T = found_TK[:, nose] & found_TK[:, neck]
    return bool(both_T.any() and (xy_TK2[both_T, nose, 1] - xy_TK2[both_T, neck, 1]).mean() > 0)


def _draw_one(panel: np.ndarray, place_K2: np.ndarray, found_K: np.ndarray) -> None:
    knows_names = len(place_K2) == len(DRIVER_KEYPOINTS)
    place_K2 = np.rint(place_K2 * 2**_SUB).astype(int)

    def color(number: int) -> tuple[int, int, int]:
        name = DRIVER_KEYPOINTS[number] if knows_names else ''
        return _LEFT if name.startswith('left') else _RIGHT if name.startswith('right') else _BODY

    for outer, inner in DRIVER_EDGES if knows_names else ():
        if found_K[outer] and found_K[inner]:
            is_finger = any(f'_{joint}' in DRIVER_KEYPOINTS[outer] for joint in '1234')
            ends = place_K2[outer].tolist(), place_K2[inner].tolist()
            cv2.line(panel, *ends, color(outer), 1 if is_finger else 2, cv2.LINE_AA, _SUB)
    for number in np.flatnonzero(found_K).tolist():
        is_nose = knows_names and DRIVER_KEYPOINTS[number] == 'nose'
        radius = 5 if is_nose else 2
        cv2.circle(
            panel, place_K2[number].tolist(), radius << _SUB, color(number), 2 if is_nose else -1, cv2.LINE_AA, _SUB
        )
