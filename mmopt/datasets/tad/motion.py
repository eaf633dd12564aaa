"""Tracks to motion features: gaps, velocity, acceleration. Pure NumPy.

A missing point is NaN until the very last step. Setting it to 0 before differencing, as the published V7 does, makes
spikes of a thousand pixels per frame at both ends of each gap.

Shape letters: T frames, K keypoints (mouse by mouse, part by part), 2 = x and y; units are cm and s.
"""

import numpy as np

__all__ = [
    'ACCELERATION_SCALE',
    'SPEED_SCALE',
    'closeness',
    'count_inputs',
    'fill_gaps',
    'motion',
    'motion_features',
]

SPEED_SCALE = 20.0
"""cm/s that become 1: a mouse walks at 5-20 cm/s and runs at up to 100."""
ACCELERATION_SCALE = 400.0
"""cm/s^2 that become 1: full speed within a twentieth of a second."""
CLOSENESS_CM = 10.0
"""Distance at which closeness has fallen to 1 / e: about a body."""
_LIMIT = 5.0  # a tracking glitch of one frame must not rule the batch normalization


def fill_gaps(position_TK2: np.ndarray, max_gap: int) -> np.ndarray:
    """Interpolate short gaps linearly; long ones, and those at either end, stay NaN.

    Args:
        position_TK2: Positions, NaN where a point is missing.
        max_gap: Longest run of missing frames that is filled.

    Returns:
        Positions of the same shape.
    """
    num_frames = len(position_TK2)
    seen_TK = np.isfinite(position_TK2).all(-1)
    frame_T1 = np.arange(num_frames)[:, None]
    before_TK = np.maximum.accumulate(np.where(seen_TK, frame_T1, -1), axis=0)
    after_TK = np.minimum.accumulate(np.where(seen_TK, frame_T1, num_frames)[::-1], axis=0)[::-1]
    fill_TK = ~seen_TK & (before_TK >= 0) & (after_TK < num_frames) & (after_TK - before_TK - 1 <= max_gap)
    t, k = np.nonzero(fill_TK)
    before, after = before_TK[t, k], after_TK[t, k]
    share = ((t - before) / (after - before))[:, None].astype(position_TK2.dtype)
    filled_TK2 = np.where(seen_TK[..., None], position_TK2, np.nan)
    filled_TK2[t, k] = (1 - share) * position_TK2[before, k] + share * position_TK2[after, k]
    return filled_TK2


def motion(position_TK2: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return speed and acceleration magnitude of every keypoint.

    ``velocity[t] = (position[t] - position[t - 1]) / dt`` with the video's own ``dt = 1 / fps``, and acceleration from
    velocity in the same way.

    Args:
        position_TK2: Positions, NaN where a point is missing.
        fps: Frames per second of the video.

    Returns:
        Speed and acceleration, each of shape (T, K); NaN where one of the two (three) points is missing, which the
        first one (two) frames always are.
    """
    velocity_TK2 = np.full_like(position_TK2, np.nan)
    velocity_TK2[1:] = (position_TK2[1:] - position_TK2[:-1]) * fps
    acceleration_TK2 = np.full_like(position_TK2, np.nan)
    acceleration_TK2[1:] = (velocity_TK2[1:] - velocity_TK2[:-1]) * fps
    return np.hypot(*np.moveaxis(velocity_TK2, -1, 0)), np.hypot(*np.moveaxis(acceleration_TK2, -1, 0))


def closeness(position_TMP2: np.ndarray) -> np.ndarray:
    """Return how close each pair of mice is, from 1 (touching) to 0 (far, or not seen).

    Args:
        position_TMP2: Positions (T, M, P, 2) in cm, NaN where a point is missing.

    Returns:
        (T, 2 * pairs): for each pair ``exp(-distance / 10 cm)`` of the mean points, then of the two nearest points.
    """
    first, second = np.triu_indices(position_TMP2.shape[1], k=1)
    seen_TMP = np.isfinite(position_TMP2).all(-1)
    points = np.where(seen_TMP[..., None], position_TMP2, 0.0)
    with np.errstate(invalid='ignore'):  # 0 / 0 is a mouse that is not seen: NaN, as it should be
        center_TM2 = points.sum(axis=2) / seen_TMP.sum(axis=2)[..., None]
    between = np.linalg.norm(center_TM2[:, first] - center_TM2[:, second], axis=-1)
    apart = position_TMP2[:, first, :, None] - position_TMP2[:, second, None]
    nearest = np.nan_to_num(np.linalg.norm(apart, axis=-1), nan=np.inf).min(axis=(2, 3))
    return np.nan_to_num(np.exp(-np.concatenate((between, nearest), axis=1) / CLOSENESS_CM), nan=0.0)


def count_inputs(num_keypoints: int, use_motion_features: bool = True, num_pairs: int = 0) -> int:
    """Return the number of input channels.

    Args:
        num_keypoints: Each has x and y, and with motion features speed and acceleration.
        use_motion_features: Whether there are motion features.
        num_pairs: Pairs of mice that have closeness features, two each.

    Returns:
        Channels.
    """
    return num_keypoints * (4 if use_motion_features else 2) + 2 * num_pairs


def motion_features(position_TK2: np.ndarray, fps: float, arena_cm: float, use_motion_features: bool) -> np.ndarray:
    """Turn positions into the network's input.

    Args:
        position_TK2: Positions in cm from the arena's center.
        fps: Frames per second.
        arena_cm: Longer side of the arena: half of it becomes 1.
        use_motion_features: Whether speed and acceleration follow the coordinates.

    Returns:
        float32 (T, C): all coordinates, all speeds, all accelerations. Missing values are 0: the center, at rest.
    """
    parts = [(position_TK2 / (arena_cm / 2)).reshape(len(position_TK2), -1)]
    if use_motion_features:
        speed_TK, acceleration_TK = motion(position_TK2, fps)
        parts += [speed_TK / SPEED_SCALE, acceleration_TK / ACCELERATION_SCALE]
    features_TC = np.concatenate(parts, axis=1, dtype=np.float32)
    return np.clip(np.nan_to_num(features_TC, copy=False, nan=0.0), -_LIMIT, _LIMIT)
