"""An articulated driver: 52 points in space, from the direction the driver looks in.

World: meters from the base of the neck; X to the driver's left, Y up, Z forward. Angles in radians: yaw to the left,
pitch up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from mmopt.structures.driver_skeleton import DRIVER_KEYPOINTS

__all__ = ['DIRECTIONS', 'Driver', 'act', 'as_array', 'pose_points', 'wheel_rim']

_YAW, _UP, _DOWN = np.radians([46.0, 27.0, -33.0])
# The diagonal ones are four fifths of both: eyes do the rest.
DIRECTIONS = dict(
    left=(_YAW, 0.0),
    right=(-_YAW, 0.0),
    down=(0.0, _DOWN),
    up=(0.0, _UP),
    right_up=(-0.8 * _YAW, 0.8 * _UP),
    right_down=(-0.8 * _YAW, 0.8 * _DOWN),
    left_down=(0.8 * _YAW, 0.8 * _DOWN),
    left_up=(0.8 * _YAW, 0.8 * _UP),
    front=(0.0, 0.0),
)
"""Yaw and pitch of the head at the height of each action."""

_WHEEL_CENTER, _WHEEL_RADIUS = np.array([0.0, -0.30, 0.40]), 0.17


def _rgb(values: Iterable[float]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


@dataclass(frozen=True)
class Driver:
    """What stays the same about a person.

    Attributes:
        scale: Size, 1 is average.
        reach: How far the head turns, 1 is average.
        seat_m: Where the person sits, off the middle of the seat (3,).
        skin: RGB.
        hair: RGB.
        shirt: RGB.
    """

    scale: float
    reach: float
    seat_m: np.ndarray
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    shirt: tuple[int, int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Make a person up."""
        tone = rng.uniform(0.35, 1.0)
        return cls(
            scale=rng.uniform(0.92, 1.08),
            reach=rng.uniform(0.85, 1.15),
            seat_m=rng.normal(0, [0.02, 0.02, 0.015]),
            skin=_rgb(value * tone for value in (235, 190, 160)),
            hair=_rgb(rng.uniform(10, 110) * np.array([1.0, 0.8, 0.6])),
            shirt=_rgb(rng.uniform(30, 220, 3)),
        )


def rotation(yaw: float, pitch: float) -> np.ndarray:
    """Return the head's rotation, head to world (3, 3)."""
    cos_y, sin_y, cos_p, sin_p = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    nod = np.array([[1, 0, 0], [0, cos_p, sin_p], [0, -sin_p, cos_p]])
    return turn @ nod


def act(segments: list[tuple[int, int, str]], num_frames: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Plan the head's direction: toward each action and back, with reaction times and sway.

    Args:
        segments: Start, stop and action of each segment, half-open.
        rate: Frames per second.

    Returns:
        Yaw and pitch of every frame (num_frames, 2).
    """
    wanted = np.zeros((num_frames, 2))
    for start, stop, action in segments:
        wanted[start:stop] = np.array(DIRECTIONS[action]) * rng.uniform(0.8, 1.15) + rng.normal(0, 0.03, 2)
    # A head follows with a delay; two thirds of the way are done within a tenth of a second.
    share = 1 - np.exp(-10 / rate)
    angles, sway = np.zeros((num_frames, 2)), np.zeros(2)
    head = np.zeros(2)
    for frame in range(num_frames):
        head = head + share * (wanted[frame] - head)
        sway = 0.8 * sway + rng.normal(0, 0.012, 2)
        angles[frame] = head + sway
    return angles


def pose_points(driver: Driver, yaw: float, pitch: float, wheel: float) -> dict[str, np.ndarray]:
    """Place all points.

    Args:
        yaw: Of the head.
        pitch: Of the head.
        wheel: Angle of the steering wheel, to the left.

    Returns:
        Keypoints by name, the head's center as ``head`` and its axes as ``side``, ``up`` and ``forward``.
    """
    turn = rotation(yaw * driver.reach, pitch * driver.reach)
    lean = np.array([0.03 * np.sin(yaw), 0.0, 0.02 * np.sin(-pitch)])
    head = np.array([0.0, 0.17, 0.03]) + lean
    points = dict(neck=np.array([0.0, 0.02, 0.0]) + 0.3 * lean, head=head)
    face = dict(nose=(0, -0.01, 0.115), left_eye=(0.034, 0.03, 0.09), left_ear=(0.08, 0.01, 0.0))
    for name, place in face.items():
        points[name] = head + turn @ np.array(place)
        if name.startswith('left'):
            points[name.replace('left', 'right')] = head + turn @ (np.array(place) * [-1, 1, 1])
    for side, sign in (('left', 1.0), ('right', -1.0)):
        shoulder = np.array([0.19 * sign, -0.06, 0.0]) + 0.5 * lean
        angle = np.radians(35) + sign * wheel
        wrist = _WHEEL_CENTER + _WHEEL_RADIUS * np.array([sign * np.cos(angle), np.sin(angle), -0.15])
        points[f'{side}_shoulder'] = shoulder
        points[f'{side}_elbow'] = (shoulder + wrist) / 2 + np.array([0.07 * sign, -0.09, -0.02])
        points[f'{side}_wrist'] = wrist
        points |= _fingers(side, sign, wrist)
    moved = {name: driver.scale * place + driver.seat_m for name, place in points.items()}
    return moved | dict(side=turn[:, 0], up=turn[:, 1], forward=turn[:, 2])


def wheel_rim(driver: Driver) -> np.ndarray:
    """Return points around the steering wheel, (N, 3)."""
    angle_N = np.linspace(0, 2 * np.pi, 25)
    rim_N3 = _WHEEL_CENTER + _WHEEL_RADIUS * np.stack([np.cos(angle_N), np.sin(angle_N), 0 * angle_N - 0.15], axis=1)
    return driver.scale * rim_N3 + driver.seat_m


def _fingers(side: str, sign: float, wrist: np.ndarray) -> dict[str, np.ndarray]:
    """Curl the fingers around the wheel's rim."""
    across, along = np.array([0.2 * sign, 0.6, 0.6]), np.array([-sign * 0.5, 0.5, 0.4])
    along /= np.linalg.norm(along)
    points = {}
    for number, finger in enumerate(('thumb', 'index', 'middle', 'ring', 'pinky')):
        base = wrist + along * 0.05 + across * 0.018 * (number - 2)
        for joint in range(1, 5):  # 1 at the palm, 4 at the tip
            bend = 0.35 * (joint - 1)
            step = 0.02 * joint
            points[f'{side}_{finger}_{joint}'] = base + along * step * np.cos(bend) + [0, -step * np.sin(bend), 0]
    return points


def as_array(points: dict[str, np.ndarray]) -> np.ndarray:
    """Return the keypoints in the order of their names, (52, 3)."""
    return np.stack([points[name] for name in DRIVER_KEYPOINTS])
