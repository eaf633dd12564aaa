import numpy as np
import pytest

from mmopt.datasets.tad.motion import (
    ACCELERATION_SCALE,
    SPEED_SCALE,
    closeness,
    count_inputs,
    fill_gaps,
    motion,
    motion_features,
)


def track(*points) -> np.ndarray:
    """One keypoint; None is a missing frame."""
    return np.array([[(np.nan, np.nan) if point is None else point] for point in points], dtype=np.float32)


def test_velocity_and_acceleration_by_hand():
    # 3-4-5 triangle per frame at 10 fps: 50 cm/s; then a stop: -50 cm/s within 0.1 s.
    speed, acceleration = motion(track((0, 0), (3, 4), (6, 8), (6, 8)), fps=10.0)
    np.testing.assert_allclose(speed[:, 0], [np.nan, 50, 50, 0])
    np.testing.assert_allclose(acceleration[:, 0], [np.nan, np.nan, 0, 500], atol=1e-3)


def test_x_is_paired_with_x_of_the_same_point():
    position = np.zeros((2, 2, 2), dtype=np.float32)
    position[1] = [(1, 0), (0, 2)]
    np.testing.assert_allclose(motion(position, fps=1.0)[0][1], [1, 2])


@pytest.mark.parametrize('fps', [10.0, 33.3, 120.0])
def test_one_walk_filmed_at_another_rate_has_the_same_speed(fps):
    time_s = np.arange(50) / fps
    position = np.stack((3 * time_s, 4 * time_s), axis=-1)[:, None]
    np.testing.assert_allclose(motion(position, fps)[0][1:], 5.0, rtol=1e-6)


def test_a_missing_point_makes_no_spike():
    speed, acceleration = motion(track((900, 900), None, (900, 900), (900, 900)), fps=30.0)
    assert np.nanmax(speed) == 0
    assert np.isnan(speed[1:3]).all()
    assert np.isnan(acceleration[1:4]).all()
    assert np.isfinite(motion_features(track((900, 900), None, (900, 900)), 30.0, 1000.0, True)).all()


def test_short_gaps_are_interpolated_and_long_ones_stay():
    filled = fill_gaps(track((0, 0), None, (2, 4), None, None, None, (6, 0)), max_gap=2)
    np.testing.assert_allclose(filled[:3, 0], [(0, 0), (1, 2), (2, 4)])
    assert np.isnan(filled[3:6]).all()


def test_gaps_at_the_ends_are_never_filled():
    assert np.isnan(fill_gaps(track(None, (1, 1), None), max_gap=9)[[0, 2]]).all()


def test_gap_filling_equals_interpolation_point_by_point():
    rng = np.random.default_rng(0)
    position = rng.normal(size=(200, 6, 2))
    position[rng.random((200, 6)) < 0.6] = np.nan
    filled = fill_gaps(position, max_gap=3)
    for k in range(6):
        seen = np.nonzero(np.isfinite(position[:, k, 0]))[0]
        for t in range(200):
            before, after = seen[seen <= t], seen[seen >= t]
            inside = len(before) and len(after) and after[0] - before[-1] - 1 <= 3
            expected = np.interp(t, seen, position[seen, k, 0]) if inside else np.nan
            np.testing.assert_allclose(filled[t, k, 0], expected)


def test_half_a_point_is_a_missing_point():
    position = np.array([[(1.0, 1.0)], [(np.nan, 5.0)], [(3.0, 3.0)]])
    np.testing.assert_allclose(fill_gaps(position, 1)[1, 0], (2, 2))


def test_channels_are_coordinates_then_speeds_then_accelerations():
    position = np.zeros((4, 71, 2), dtype=np.float32)
    position[:, 5, 0] = [0, 1, 3, 6]
    features = motion_features(position, 10.0, 20.0, True)
    assert features.shape == (4, 284) == (4, count_inputs(71))
    np.testing.assert_allclose(features[:, 10], [0, 0.1, 0.3, 0.6])
    np.testing.assert_allclose(features[3, 142 + 5], 30 / SPEED_SCALE)
    np.testing.assert_allclose(features[3, 142 + 71 + 5], 100 / ACCELERATION_SCALE, rtol=1e-5)
    assert motion_features(position, 10.0, 20.0, False).shape == (4, 142) == (4, count_inputs(71, False))


def test_closeness_by_hand():
    # Two mice of two parts: means 5 cm apart, nearest points 3 cm; then the second is not seen.
    position = np.array([[[(0.0, 0), (2, 0)], [(5, 0), (7, 0)]], [[(0, 0), (2, 0)], [(np.nan, np.nan)] * 2]])
    np.testing.assert_allclose(closeness(position), [[np.exp(-0.5), np.exp(-0.3)], [0, 0]])
    assert count_inputs(4, True, num_pairs=1) == 4 * 4 + closeness(position).shape[1]
