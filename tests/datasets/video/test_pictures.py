"""Skeletons as pictures."""

import numpy as np
import torch

from mmopt.datasets.video import DriverActionDataset
from mmopt.datasets.video.demo.figure import Driver, as_array, pose_points
from mmopt.datasets.video.pictures import draw_skeletons
from mmopt.structures import DataSample
from mmopt.structures.driver_skeleton import DRIVER_KEYPOINTS


def pose(yaw: float = 0.0) -> np.ndarray:
    return as_array(pose_points(Driver.draw(np.random.default_rng(0)), yaw, 0.0, 0.0)).astype(np.float32)


def ink(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - 250).max(axis=-1) > 30


def test_a_driver_is_upright_whichever_way_the_axis_points():
    up = draw_skeletons(pose()[None], [7])
    assert up.shape == (240, 246, 3)
    down = draw_skeletons(pose()[None] * np.float32([1, -1, 1]), [7])
    assert np.array_equal(up, down)
    # Shoulders and hands are wider than the head, and below it.
    widths = [np.ptp(np.flatnonzero(ink(up[rows, :240]).any(axis=0))) for rows in (slice(24, 70), slice(110, 220))]
    assert widths[0] < 0.6 * widths[1]


def test_a_head_that_turns_is_seen():
    picture = draw_skeletons(np.stack([pose(-0.8), pose(0.0), pose(0.8)]), [0, 1, 2])
    heads = [np.flatnonzero(ink(picture[24:80, left : left + 240]).any(axis=0)).mean() for left in (0, 246, 492)]
    assert heads[0] < heads[1] < heads[2]


def test_points_that_were_not_found_are_left_out():
    points = pose()
    without = points.copy()
    without[DRIVER_KEYPOINTS.index('left_elbow')] = 0
    assert ink(draw_skeletons(without[None], [0])).sum() < ink(draw_skeletons(points[None], [0])).sum()
    nothing = draw_skeletons(np.zeros((1, 52, 3), np.float32), [0])
    assert not ink(nothing[24:]).any()


def test_points_of_another_skeleton_are_points_alone_and_many_frames_are_eight():
    assert ink(draw_skeletons(np.random.default_rng(0).random((1, 17, 2)), [0])).any()
    assert draw_skeletons(np.stack([pose()] * 30), list(range(30))).shape[1] == 8 * 246


def test_a_sample_of_keypoints_is_drawn_as_a_skeleton_below_its_label():
    dataset = DriverActionDataset(load_rgb=False, load_kpt=True, lazy_init=True)
    sample = DataSample(metainfo=dict(recording='person_01/day_high', frames=list(range(4))))
    sample.label, sample.pred_label, sample.pred_scores = torch.tensor(0), torch.tensor(1), torch.full((9,), 0.1)
    picture = dataset.draw(sample, dict(keypoints=torch.from_numpy(np.stack([pose()] * 4))))
    assert picture.shape[0] > 240
    assert picture.shape[1] >= 4 * 246
    for label in (1, -1):  # right, and unknown
        sample.label = torch.tensor(label)
        assert dataset.draw(sample, None).shape[0] == 26
