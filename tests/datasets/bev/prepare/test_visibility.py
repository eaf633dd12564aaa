from pathlib import Path

import numpy as np
import pytest

from mmopt.datasets.bev.prepare.rasterize import fill_polygon, grid_to_world, world_to_grid
from mmopt.datasets.bev.prepare.views import Boxes, View, pose, transform
from mmopt.datasets.bev.prepare.visibility import (
    hidden_behind_boxes,
    hidden_in_lidar,
    in_field_of_view,
    load_sweep,
)
from mmopt.utils.errors import DataError, DataNotFoundError
from tests.datasets.bev.prepare.conftest import K, cells


class NoGround:
    def masks(self, world_to_grid_23):
        return np.zeros((4, 196, 200), bool)


def make_view(*boxes: tuple[tuple, tuple], pitch: float = 0.0) -> View:
    """Place a camera 1.5 m above the origin, looking along the +x of both the car and the world, ``pitch`` rad down.

    A box is ((x to the right, z ahead, height of its bottom), (length ahead, width, height)).
    """
    camera_to_world_44 = pose([0, 0, 1.5], [0.5, -0.5, 0.5, -0.5]) @ pose(
        [0, 0, 0], [np.cos(pitch / 2), -np.sin(pitch / 2), 0, 0]
    )
    centers = [(z, -x, bottom + size[2] / 2) for (x, z, bottom), size in boxes]
    return View(
        name='view',
        splits=('train',),
        image=Path('image.jpg'),
        size=(1600, 900),
        intrinsics_33=np.array(K),
        camera_to_world_44=camera_to_world_44,
        ego_to_world_44=np.eye(4),
        boxes=Boxes(
            np.array(centers, float).reshape(-1, 3),
            np.array([size for _, size in boxes], float).reshape(-1, 3),
            np.tile(np.eye(3), (len(boxes), 1, 1)),
            np.full(len(boxes), 4),
        ),
        ground=NoGround(),
    )


def test_the_field_of_view_ends_at_the_borders_of_the_image():
    seen_ZX = in_field_of_view(np.array([[400.0, 0, 300], [0, 400, 300], [0, 0, 1]]), width=700)
    row = 36  # 10 m: u = 40 x + 300 is in [0, 700) for x in [-7.5, 10)
    np.testing.assert_array_equal(np.flatnonzero(seen_ZX[row]), np.arange(70, 140))


def test_a_ray_is_seen_as_far_as_its_farthest_return():
    # The far return lies high above the ground: PON's rule does not look at heights.
    hidden_ZX = hidden_in_lidar(np.array([[0.0, 1.5, 8.0], [0.0, -10.0, 20.0], [0.0, 0.0, -40.0]]))
    middle = ~hidden_ZX[:, 100]
    np.testing.assert_array_equal(np.flatnonzero(middle), np.arange(0, 77))  # z = 1 .. 20
    assert hidden_ZX[:, :95].all()  # rays without a return


def test_a_wall_in_lidar_hides_what_is_behind_it():
    ratio = np.arange(-25, 25, 0.004)
    depth = np.where((ratio > 0.2) & (ratio < 0.4), 10.0, 40.0)
    hidden_ZX = hidden_in_lidar(np.column_stack([ratio * depth, np.zeros_like(ratio), depth]))
    assert hidden_ZX[76, 124]  # x = 6, z = 20: ratio 0.3
    assert not hidden_ZX[28, 109]  # x = 2.25, z = 8: before the wall
    assert not hidden_ZX[76, 76]  # x = -6, z = 20


def test_a_tall_box_hides_the_ground_behind_it_and_not_itself():
    hidden_ZX = hidden_behind_boxes(make_view(((0, 11, 0), (2, 4, 3))))  # x -2..2, z 10..12, 3 m high
    assert not hidden_ZX[cells(-2, 10, 2, 12)].any()
    assert hidden_ZX[cells(-2, 12.5, 2, 49)].all()
    # Its shadow widens: at z = 40 the edge x = 2 at z = 10 reaches x = 8.
    row = 4 * (40 - 1)
    np.testing.assert_array_equal(np.flatnonzero(hidden_ZX[row]), np.arange(100 - 32, 100 + 32 + 1))
    assert not hidden_ZX[: 4 * (10 - 1)].any()


def test_the_shadow_of_a_low_box_ends():
    # Top at 0.75 m, half the camera's height: the sight line over its far edge (z = 11) meets the ground at z = 22.
    hidden_ZX = hidden_behind_boxes(make_view(((0, 10.5, 0), (1, 4, 0.75))))
    column = hidden_ZX[:, 100]
    np.testing.assert_array_equal(np.flatnonzero(column), np.arange(4 * (11 - 1) + 1, 4 * (22 - 1) + 1))


def test_a_tall_thing_is_seen_over_a_low_box():
    # Behind the same low box stands a truck: its top is seen, so all its cells count, though the ground does not.
    hidden_ZX = hidden_behind_boxes(make_view(((0, 10.5, 0), (1, 4, 0.75)), ((0, 16, 0), (4, 2, 3))))
    assert not hidden_ZX[cells(-1, 14, 1, 18)].any()
    assert hidden_ZX[cells(-0.5, 12, 0.5, 13.5)].all()


def test_a_box_above_the_sight_line_hides_nothing():
    assert not hidden_behind_boxes(make_view(((0, 11, 2.0), (2, 4, 3)))).any()


def test_a_box_behind_the_camera_hides_nothing():
    assert not hidden_behind_boxes(make_view(((0, -5, 0), (2, 4, 3)))).any()
    assert not hidden_behind_boxes(make_view()).any()


def test_a_pitched_camera_measures_along_its_own_axis():
    view = make_view(pitch=0.1)
    # A point on the ground 20 m ahead: z = 20 cos(pitch) + 1.5 sin(pitch) along the optical axis.
    x, z = transform(world_to_grid(view), np.array([20.0, 0.0]))
    np.testing.assert_allclose([x, z], [0, 20 * np.cos(0.1) + 1.5 * np.sin(0.1)], atol=1e-12)
    np.testing.assert_allclose(transform(grid_to_world(world_to_grid(view)), np.array([x, z])), [20, 0], atol=1e-12)


def test_small_objects_never_fall_between_the_cells():
    rng = np.random.default_rng(0)
    for x, z, angle in rng.uniform([-20, 5, 0], [20, 45, np.pi], (200, 3)):
        mask_ZX = np.zeros((196, 200), bool)
        turn_22 = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        cone_42 = np.array([[0.15, 0.15], [-0.15, 0.15], [-0.15, -0.15], [0.15, -0.15]]) @ turn_22 + (x, z)
        fill_polygon(mask_ZX, cone_42)
        rows, columns = np.nonzero(mask_ZX)
        assert 1 <= len(rows) <= 9
        # Within half a cell: no shift to one side.
        assert abs(-25 + columns.mean() / 4 - x) <= 0.13
        assert abs(1 + rows.mean() / 4 - z) <= 0.13


def test_a_sweep_is_read_in_nuscenes_format(tmp_path):
    path = tmp_path / 'a.pcd.bin'
    np.arange(10, dtype=np.float32).tofile(path)
    assert load_sweep(path).tolist() == [[0, 1, 2], [5, 6, 7]]


def test_a_cut_off_or_missing_sweep_is_named(tmp_path):
    path = tmp_path / 'a.pcd.bin'
    with pytest.raises(DataNotFoundError, match=r'a.pcd.bin: no such LiDAR sweep. .* --occlusion boxes'):
        load_sweep(path)
    path.write_bytes(bytes(42))
    with pytest.raises(DataError, match=r'a.pcd.bin: 42 bytes are no whole number of points'):
        load_sweep(path)
