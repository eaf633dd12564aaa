import json

import cv2
import numpy as np
import pytest

from mmopt.datasets.bev.prepare import Options, make_label, prepare
from mmopt.datasets.bev.prepare.keyframe import keyframe_views
from mmopt.datasets.bev.prepare.preview import overlay
from mmopt.datasets.bev.prepare.views import CLASSES, IGNORE
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from tests.datasets.bev.prepare.conftest import BACK, EGO, FRONT, LIDAR, K, bit, cells
from tests.datasets.bev.prepare.test_tables import _renamed


@pytest.fixture
def folder(tmp_path):
    """The same car, cameras and boxes as the tiny nuScenes, as a key frame."""
    from mmopt.datasets.bev.prepare.views import pose

    folder = tmp_path / 'street'
    folder.mkdir()
    lidar2ego = pose(**_renamed(LIDAR))
    raster = np.zeros((600, 600), np.uint8)
    raster[190:590, 300:500] = 255  # world x 90..110, y 201..241 at 0.1 m, north up from (60, 260)
    cv2.imwrite(str(folder / 'drivable.png'), raster)
    cameras = {}
    for name, place in (('CAM_FRONT', FRONT), ('CAM_BACK', BACK)):
        cv2.imwrite(str(folder / f'{name}.jpg'), np.full((900, 1600, 3), 90, np.uint8))
        cameras[name] = dict(
            file=f'{name}.jpg', width=1600, height=900, cam2img=K,
            lidar2cam=(np.linalg.inv(pose(**_renamed(place))) @ lidar2ego).tolist(),
        )  # fmt: skip
    keyframe = dict(
        ego2global=pose(**_renamed(EGO)).tolist(),
        lidar2ego=lidar2ego.tolist(),
        cameras=cameras,
        # x right, y forward from the LiDAR, which stands above the front camera; length ahead (yaw 90 degrees).
        boxes=[
            dict(category='car', center_lwh_yaw_lidar=[5, 20, -1.05, 4, 2, 1.5, np.pi / 2]),
            dict(category=None, center_lwh_yaw_lidar=[-5, 10, -1.3, 1, 1, 1, np.pi / 2]),
        ],
        drivable=dict(file='drivable.png', resolution_m_per_px=0.1, x0=60.0, y0=260.0),
    )
    (folder / 'keyframe.json').write_text(json.dumps(keyframe))
    return folder


def change(folder, **changes):
    path = folder / 'keyframe.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_boxes_and_raster_land_in_their_cells(folder):
    view = keyframe_views(folder, ['CAM_FRONT'], ('train',))[0]
    bits_ZX = make_label(view, 'none')
    np.testing.assert_array_equal(bit(bits_ZX, CLASSES.index('car')), cells(4, 18, 6, 22))
    assert bit(bits_ZX, IGNORE)[cells(-5.4, 9.6, -4.6, 10.4)].all()  # an object of no class
    # Half a pixel of the raster either way.
    drivable_ZX = bit(bits_ZX, 0)
    assert drivable_ZX[cells(-9.9, 0, 9.9, 39.9)].all()
    assert not drivable_ZX[~cells(-10.1, 0, 10.1, 40.1)].any()


def test_all_cameras_are_labeled_in_both_splits(folder, tmp_path):
    summary = prepare(Options(source=folder, out=tmp_path / 'out', num_workers=0, num_previews=0))
    assert summary.num_images == dict(train=2, val=2)
    assert sorted(path.stem for path in (tmp_path / 'out/img_dir/val').iterdir()) == [
        'street_CAM_BACK', 'street_CAM_FRONT',
    ]  # fmt: skip
    assert any('val holds the same images as train' in note for note in summary.notes)


def test_the_overlay_paints_the_ground_where_the_camera_sees_it(folder):
    view = keyframe_views(folder, ['CAM_FRONT'], ('train',))[0]
    maps_CZX = np.zeros((14, 196, 200), bool)
    maps_CZX[4] = cells(4, 18, 6, 22)
    picture = overlay(view, np.full((900, 1600, 3), 90, np.uint8), maps_CZX, np.ones((196, 200), bool))
    # The ground 5 m to the right and 20 m ahead is 1.5 m below the camera: u = 800 + 800 / 4, v = 450 + 60.
    assert picture[510, 1000].tolist() != [90, 90, 90]
    assert picture[510, 900].tolist() == [90, 90, 90]
    assert picture[440, 1100].tolist() == [90, 90, 90]


def test_a_key_frame_takes_no_options_of_nuscenes(folder, tmp_path):
    options = dict(source=folder, out=tmp_path / 'out')
    with pytest.raises(UserError, match='is a key frame: --version would have no effect'):
        prepare(Options(**options, version='v1.0-mini'))
    with pytest.raises(UserError, match='a key frame has no LiDAR sweep'):
        prepare(Options(**options, occlusion='lidar'))


def test_what_is_wrong_in_a_key_frame_is_named(folder):
    with pytest.raises(DataError, match=r"no camera 'CAM_TOP'; it has CAM_FRONT, CAM_BACK"):
        keyframe_views(folder, ['CAM_TOP'], ('train',))
    change(folder, boxes=[dict(category='tank', center_lwh_yaw_lidar=[0] * 7)])
    with pytest.raises(DataError, match=r"unknown category 'tank'; known: car, truck, .* null for no class"):
        keyframe_views(folder, None, ('train',))
    change(folder, boxes=[], lidar2ego=[[1, 0], [0, 1]])
    with pytest.raises(DataError, match=r'in the place of 4x4 finite numbers'):
        keyframe_views(folder, None, ('train',))


def test_what_is_missing_in_a_key_frame_is_named(folder):
    (folder / 'CAM_BACK.jpg').unlink()
    with pytest.raises(DataNotFoundError, match=r'CAM_BACK.jpg: no such file, but .*keyframe.json names it'):
        keyframe_views(folder, None, ('train',))
    (folder / 'keyframe.json').write_text('{}')
    with pytest.raises(DataError, match=r"keyframe.json: the key 'cameras' is missing"):
        keyframe_views(folder, None, ('train',))
    (folder / 'keyframe.json').write_text('{')
    with pytest.raises(DataError, match=r'keyframe.json: not readable as JSON'):
        keyframe_views(folder, None, ('train',))


def test_real_boxes_stand_where_the_camera_sees_their_colors_and_cars_on_the_road(shared_dir):
    views = keyframe_views(shared_dir / 'data' / 'nuscenes_keyframe', None, ('train',))
    assert len(views) == 6
    for view in views:
        bits_ZX = make_label(view, 'boxes')
        seen_ZX = ~bit(bits_ZX, IGNORE)
        cars_ZX = (bit(bits_ZX, 4) | bit(bits_ZX, 5)) & seen_ZX
        # Raster and boxes come from different sources; a wrong frame or sign would tear them apart.
        on_road = bit(bits_ZX, 0)[cars_ZX].mean() if cars_ZX.any() else 1.0
        assert on_road > 0.85, view.name
        assert bit(bits_ZX, 0)[seen_ZX].mean() > 0.005
