"""The demo's picture and label agree: cameras, layouts, footprints, who hides whom."""

import numpy as np
import pytest

from mmopt.datasets.bev.demo.labels import cell_centers, draw_label, shadow_polygon
from mmopt.datasets.common.street.camera import CAM_FRONT_HEIGHT_M, NEAR_M, Camera, clip_near
from mmopt.datasets.common.street.items import Item, far_to_near, overlaps
from mmopt.datasets.common.street.light import sample_light
from mmopt.datasets.common.street.paint import draw_solids
from mmopt.datasets.common.street.render import sample_world
from mmopt.datasets.common.street.solids import box
from mmopt.datasets.common.street.street import Side, Street, band, sample_street, stripes
from mmopt.datasets.common.street.traffic import CLASSES, KINDS

ROAD, CAR, CONE = 1 << 0, 1 << CLASSES.index('car'), 1 << CLASSES.index('traffic_cone')
IGNORE = 1 << 14


def straight_street(heading: float = 0.0, curvature: float = 0.0) -> Street:
    """Two lanes of 3.5 m with walkways of 3 m, the camera in the middle of the right lane."""
    side = Side(bays_m=0.0, bays=(0.0, 0.0), verge_m=0.0, walk_m=3.0, lot=(0.0, 0.0), lot_m=0.0)
    lanes = ((-1.75, -1), (1.75, 1))
    return Street(heading, curvature, 1.75, lanes, 3.5, (side, side), None, crossings=((20.0, 24.0),))


def item(kind: str, x: float, z: float, yaw: float = 0.0, size: tuple | None = None) -> Item:
    category = CLASSES.index(kind) if kind in CLASSES else None
    return Item(kind, category, (x, z, yaw), size or KINDS[kind][0])


def cell(label: np.ndarray, x: float, z: float) -> int:
    """The label's value at a ground point, by the rule of the layout."""
    return int(label[int((z - 1) / 0.25), int((x + 25) / 0.25)])


def test_the_camera_is_nuscenes_front_camera_and_scales_with_the_image():
    full, half = Camera(), Camera((450, 400))
    assert full.intrinsics_33[0].tolist() == [1266.417203046554, 0.0, 816.2670197447984]
    np.testing.assert_allclose(half.intrinsics_33[0], full.intrinsics_33[0] / 4)
    np.testing.assert_allclose(half.intrinsics_33[1], full.intrinsics_33[1] / 2)


def test_ground_under_a_pixel_projects_back_onto_it():
    camera = Camera((90, 160))
    x, z = camera.ground_points
    rows, columns = np.indices(x.shape)
    points = np.stack([x.ravel(), np.zeros(x.size), np.broadcast_to(z, x.shape).ravel()], 1)
    uv = camera.project(points)
    near = np.broadcast_to(z, x.shape).ravel() < 100
    np.testing.assert_allclose(uv[near, 0], columns.ravel()[near], atol=1e-3)
    np.testing.assert_allclose(uv[near, 1], rows.ravel()[near] + camera.first_ground_row, atol=1e-3)


def test_a_point_at_camera_height_is_on_the_horizon():
    matrix = Camera().intrinsics_33
    assert Camera().project(np.array([[3.0, CAM_FRONT_HEIGHT_M, 20.0]]))[0, 1] == pytest.approx(matrix[1, 2])


def test_a_polygon_is_cut_where_the_near_plane_meets_its_edges():
    square = np.array([[-1.0, 0, -1], [1, 0, -1], [1, 0, 2], [-1, 0, 2]])
    clipped = clip_near(square)
    assert clipped[:, 2].min() == NEAR_M
    assert sorted(clipped[:, 0].tolist()) == [-1, -1, 1, 1]
    assert len(clip_near(square - (0, 0, 9))) == 0


@pytest.mark.parametrize('curvature', [0.0, 1 / 60, -1 / 75])
def test_road_coordinates_invert_each_other(curvature):
    street = straight_street(heading=0.2, curvature=curvature)
    s, d = np.meshgrid(np.linspace(-5, 50, 12), np.linspace(-20, 20, 9))
    back_s, back_d = street.to_road(*street.to_world(s, d))
    np.testing.assert_allclose(back_s, s, atol=1e-9)
    np.testing.assert_allclose(back_d, d, atol=1e-9)
    assert street.to_road(np.zeros(1), np.zeros(1))[1] == pytest.approx(street.ego_d)


def test_a_band_is_the_exact_share_of_a_pixel():
    assert band(np.array([0.0, 1.0, 2.0]), 0.0, 1.0, 1.0).tolist() == [0.5, 0.5, 0.0]
    assert band(np.array([0.5]), 0.0, 1.0, 4.0).tolist() == [0.25]  # a line thinner than the pixel


def test_stripes_average_to_their_duty_where_a_pixel_holds_many():
    assert stripes(np.array([0.25, 0.75]), 1.0, 0.5, 0.01).tolist() == pytest.approx([1.0, 0.0])
    assert stripes(np.array([3.3]), 1.0, 0.5, 1000.0).tolist() == pytest.approx([0.5], abs=1e-3)


def test_ground_classes_lie_where_the_street_has_them():
    label = draw_label(Camera(), straight_street(), [])
    # In camera coordinates the road spans x in [-5.25, 1.75), its walkways another 3 m.
    assert cell(label, 0.1, 15) == ROAD
    assert cell(label, -5.0, 15) == ROAD
    assert cell(label, 1.6, 22) == ROAD | 1 << 1
    assert cell(label, 1.9, 15) == cell(label, -5.4, 15) == 1 << 2
    assert cell(label, 4.9, 15) == 0
    assert cell(label, 20.1, 15) == IGNORE  # outside the field of view


def test_a_box_covers_the_cells_of_its_footprint_and_hides_those_behind():
    label = draw_label(Camera(), straight_street(), [item('car', 0.0, 12.0, size=(4.0, 2.0, 1.8))])
    is_car = label & CAR > 0
    x, z = cell_centers()
    assert (is_car == ((np.abs(x) < 1) & (np.abs(z - 12) < 2))).all()
    assert not (label[is_car] & IGNORE).any()
    assert cell(label, 0.1, 9.0) == ROAD
    assert cell(label, 0.1, 15.0) & IGNORE
    assert cell(label, 0.1, 49.0) & IGNORE
    assert cell(label, 2.0, 15.0) == 1 << 2  # beside the shadow


def test_a_low_thing_hides_the_ground_only_as_far_as_its_top_is_in_the_way():
    cone = item('traffic_cone', 0.0, 10.0, size=(0.5, 2.0, 0.755))  # half the camera's height: up to twice its distance
    label = draw_label(Camera(), straight_street(), [cone])
    assert cell(label, 0.1, 15.0) & IGNORE
    assert cell(label, 0.1, 24.0) & IGNORE == 0
    assert shadow_polygon(cone.corners_42, 0.755, 1.0) is None


def test_a_hidden_thing_keeps_its_class_and_does_not_count_while_a_towering_one_does():
    front = item('car', 0.0, 10.0, size=(4.0, 2.0, 1.0))
    hidden, bus = item('traffic_cone', 0.0, 14.0), item('bus', 0.0, 22.0, size=(6.0, 2.0, 3.4))
    label = draw_label(Camera(), straight_street(), [front, hidden, bus])
    assert cell(label, 0.01, 14.01) & (CONE | IGNORE) == CONE | IGNORE
    assert cell(label, 0.1, 21.0) & IGNORE == 0


def test_scenery_hides_and_is_not_counted_itself():
    label = draw_label(Camera(), straight_street(), [item('building', 8.0, 20.0, size=(6.0, 6.0, 9.0))])
    assert cell(label, 8.1, 20.0) & IGNORE
    assert cell(label, 12.1, 30.0) & IGNORE
    assert cell(label, 4.5, 20.0) & IGNORE == 0


@pytest.mark.parametrize('yaw', [0.0, 0.4, -1.2])
def test_a_labeled_box_is_drawn_where_its_corners_project_to(yaw):
    camera = Camera((450, 800))
    thing = item('car', 2.0, 14.0, yaw)
    length, width, height = thing.size
    solids = [box((-length / 2, length / 2), width / 2, (0.0, height), (1.0, 1.0, 1.0))]
    image = np.zeros((450, 800, 3), np.float32)
    draw_solids(image, camera, sample_light(np.random.default_rng(0)), solids, thing.pose)
    rows, columns = np.nonzero(image.sum(2) > 0.02)
    corners = thing.corners_42
    ground = camera.project(np.stack([corners[:, 0], np.zeros(4), corners[:, 1]], 1))
    roof = camera.project(np.stack([corners[:, 0], np.full(4, height), corners[:, 1]], 1))
    both = np.concatenate([ground, roof])
    assert columns.min() == pytest.approx(both[:, 0].min(), abs=1.5)
    assert columns.max() == pytest.approx(both[:, 0].max(), abs=1.5)
    assert rows.max() == pytest.approx(ground[:, 1].max(), abs=1.5)
    assert rows.min() == pytest.approx(roof[:, 1].min(), abs=1.5)


@pytest.mark.parametrize('kind', sorted(KINDS))
def test_shapes_fill_their_box(kind):
    (length, width, height), make = KINDS[kind]
    corners = np.concatenate(
        [
            face.points_N3
            for seed in range(4)
            for solid in make((length, width, height), np.random.default_rng(seed))
            for face in solid.faces
        ]
    )
    limits = np.array([length / 2, width / 2, height])
    assert (np.abs(corners) <= limits * 1.03 + 0.05).all()
    assert np.abs(corners).max(0)[2] == pytest.approx(height, rel=0.03)
    assert corners[:, 2].min() == pytest.approx(0.0, abs=0.05)
    if kind != 'pedestrian':  # drawn flat, facing the camera
        assert (np.abs(corners).max(0) >= limits * 0.6).all()


def test_sizes_are_those_of_nuscenes():
    worlds = [sample_world((0, 0, index)) for index in range(6)]
    for thing in (thing for world in worlds for thing in world.items if thing.category is not None):
        mean = np.array(KINDS[thing.kind][0])
        if thing.kind in ('bicycle', 'motorcycle'):  # parked ones have no rider
            mean, size = mean[:2], np.array(thing.size)[:2]
        else:
            size = np.array(thing.size)
        assert (np.abs(size / mean - 1) <= 0.0701).all()


def test_nothing_stands_in_anything_else():
    for index in range(6):
        items = [thing for thing in sample_world((0, 0, index)).items if thing.category is not None]
        for number, thing in enumerate(items):
            assert not any(overlaps(thing.corners_42, other.corners_42) for other in items[:number])


def test_a_long_wall_is_drawn_before_what_stands_before_it_though_its_center_is_nearer():
    wall = item('building', 8.0, 6.0, size=(60.0, 4.0, 9.0))  # along z, from 5 m behind the camera
    person = item('pedestrian', 5.0, 30.0)
    behind = item('car', 11.5, 34.0)
    assert far_to_near([wall, person, behind]) == [behind, wall, person]
    assert far_to_near([]) == []


def test_streets_differ_in_heading_bend_and_width():
    streets = [sample_street(np.random.default_rng(seed)) for seed in range(40)]
    assert np.std([street.heading for street in streets]) > 0.05
    assert np.std([street.curvature for street in streets]) > 0.004
    assert len({len(street.lanes) for street in streets}) >= 3
    assert 10 < sum(street.cross is not None for street in streets) < 38
