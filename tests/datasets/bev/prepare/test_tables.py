import json

import numpy as np
import pytest

from mmopt.datasets.bev.prepare.labels import make_label
from mmopt.datasets.bev.prepare.tables import find_version, iter_records, nuscenes_views
from mmopt.datasets.bev.prepare.views import CLASSES, IGNORE, pose, transform
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from tests.datasets.bev.prepare.conftest import EGO, FRONT, K, bit, cells

SPLIT = {'scene-0061': 'train'}


@pytest.fixture
def label(make_root):
    """Return a function that labels one camera of the tiny nuScenes."""

    def _label(camera: str = 'CAM_FRONT', occlusion: str = 'none') -> np.ndarray:
        views = nuscenes_views(make_root(), 'v1.0-mini', SPLIT, [camera], occlusion == 'lidar')
        assert [view.name for view in views] == [f'{camera}-scene-0061']  # key frames of chosen scenes only
        return make_label(views[0], occlusion)

    return _label


def test_poses_turn_the_car_and_the_camera():
    camera_to_world_44 = pose(**_renamed(EGO)) @ pose(**_renamed(FRONT))
    # 20 m ahead, 5 m to the right, 0.5 m below the camera.
    np.testing.assert_allclose(transform(camera_to_world_44, np.array([5, 0.5, 20.0])), [105, 221, 1.0], atol=1e-12)


def _renamed(place: dict) -> dict:
    return dict(translation=place['translation'], quaternion=place['rotation'])


def test_a_box_lands_in_its_cells(label):
    # Center 5 m to the right and 20 m ahead, 4 m long (ahead) and 2 m wide.
    np.testing.assert_array_equal(bit(label(), CLASSES.index('car')), cells(4, 18, 6, 22))


def test_the_back_camera_sees_what_is_behind_and_left_is_right(label):
    bits_ZX = label('CAM_BACK')
    np.testing.assert_array_equal(bit(bits_ZX, CLASSES.index('bus')), cells(-1.5, 15, 1.5, 25))
    assert not bit(bits_ZX, CLASSES.index('car')).any()


def test_map_layers_land_in_their_cells_with_holes_cut_out(label):
    bits_ZX = label()
    np.testing.assert_array_equal(bit(bits_ZX, 0), cells(-10, 0, 10, 40) & ~cells(-5, 20, -3, 24))
    np.testing.assert_array_equal(bit(bits_ZX, 1), cells(-10, 30, 10, 34))
    np.testing.assert_array_equal(bit(bits_ZX, 2), cells(10, 0, 13, 40))
    assert not bit(bits_ZX, 3).any()  # the car park is far away


def test_cells_outside_the_field_of_view_or_under_an_object_of_no_class_are_ignored(label):
    rows, columns = np.indices((196, 200))
    x_ZX, z_ZX = -25 + columns / 4, 1 + rows / 4
    stroller_ZX = cells(-5.5, 9.5, -4.5, 10.5)
    np.testing.assert_array_equal(bit(label(), IGNORE), (x_ZX < -z_ZX) | (x_ZX >= z_ZX) | stroller_ZX)


def test_cells_beyond_the_last_lidar_return_are_ignored(label):
    with_lidar_ZX, without_ZX = bit(label(occlusion='lidar'), IGNORE), cells(-25, 30.1, 25, 50)
    assert with_lidar_ZX[without_ZX].all()
    assert not with_lidar_ZX[cells(-2, 5, 2, 29.9)].any()


def test_the_camera_matrix_is_that_of_the_calibrated_sensor(make_root):
    (view,) = nuscenes_views(make_root(), 'v1.0-mini', SPLIT, ['CAM_FRONT'], with_lidar=False)
    assert view.intrinsics_33.tolist() == K


def test_records_are_read_whole_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr('mmopt.datasets.bev.prepare.tables._CHUNK', 7)
    records = [dict(token=f'é{index}', text='}],[{', number=index * 1000) for index in range(20)]
    path = tmp_path / 'table.json'
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding='utf-8')
    read = list(iter_records(path, ['token', 'number']))
    assert read == [(record['token'], record['number']) for record in records]


def test_an_empty_table_has_no_records(tmp_path):
    (tmp_path / 'table.json').write_text(' [\n] ')
    assert list(iter_records(tmp_path / 'table.json', ['token'])) == []


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[{"token": "a"}, {"tok', 'table.json: the table is cut off or broken'),
        ('[{"token": "a"}', 'table.json: the table is cut off or broken'),
        ('{"token": 1}', 'table.json: a table is a JSON list of objects, this begins with'),
        ('[{"name": 1}]', "table.json: a record lacks the column 'token'; it is {'name': 1}"),
        ('[3]', 'table.json: a record lacks the column'),
    ],
)
def test_a_broken_table_is_named(tmp_path, text, message):
    path = tmp_path / 'table.json'
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        list(iter_records(path, ['token']))


def test_a_missing_table_says_what_to_unpack(make_root):
    root = make_root()
    (root / 'v1.0-mini' / 'instance.json').unlink()
    with pytest.raises(DataNotFoundError, match=r'instance.json: no such table. Unpack the metadata'):
        nuscenes_views(root, 'v1.0-mini', SPLIT, ['CAM_FRONT'], with_lidar=False)


def test_a_token_that_leads_nowhere_is_named(make_root):
    root = make_root()
    (root / 'v1.0-mini' / 'category.json').write_text('[]')
    with pytest.raises(DataError, match=r"instance.json refers to category 'c-vehicle.car', which category.json"):
        nuscenes_views(root, 'v1.0-mini', SPLIT, ['CAM_FRONT'], with_lidar=False)


def test_an_unknown_camera_names_the_known_ones(make_root):
    with pytest.raises(UserError, match='has no camera CAM_TOP; it has CAM_BACK, CAM_FRONT'):
        nuscenes_views(make_root(), 'v1.0-mini', SPLIT, ['CAM_TOP'], with_lidar=False)


def test_the_version_is_found_or_asked_for(make_root):
    root = make_root()
    assert find_version(root, None) == 'v1.0-mini'
    with pytest.raises(DataNotFoundError, match=r'v1.0-trainval: no tables there; found: v1.0-mini'):
        find_version(root, 'v1.0-trainval')
    (root / 'v1.0-trainval').mkdir()
    (root / 'v1.0-trainval' / 'sample_data.json').touch()
    with pytest.raises(UserError, match='holds v1.0-mini and v1.0-trainval: choose one with --version'):
        find_version(root, None)


def test_a_folder_that_is_no_nuscenes_says_so(tmp_path):
    with pytest.raises(DataNotFoundError, match='neither a nuScenes folder .* nor a key frame'):
        find_version(tmp_path, None)


def change(root, table: str, edit) -> None:
    path = root / 'v1.0-mini' / f'{table}.json'
    records = json.loads(path.read_text())
    edit(records)
    path.write_text(json.dumps(records))


def read(root, with_lidar: bool = False, say=lambda text: None):
    return nuscenes_views(root, 'v1.0-mini', SPLIT, ['CAM_FRONT'], with_lidar, say)


@pytest.mark.parametrize(
    'broken',
    [
        dict(size=[float('nan'), 4, 1.5]),
        dict(size=[0, 4, 1.5]),
        dict(size=None),
        dict(rotation=[0, 0, 0, 0]),
        dict(rotation=None),
        dict(translation=[1, None, 2]),
    ],
)
def test_boxes_without_place_size_or_rotation_are_left_out_and_counted(make_root, broken):
    root, said = make_root(), []
    change(root, 'sample_annotation', lambda records: records[0].update(broken))
    (view,) = read(root, say=said.append)
    assert len(view.boxes) == 2
    assert said == ['1 boxes of sample_annotation.json have no finite place, no size or no rotation: left out.']


@pytest.mark.parametrize(
    ('table', 'broken', 'message'),
    [
        ('ego_pose', dict(rotation=[0, 0, 0, 0]), r'ego_pose.json: ego: the rotation \[0, 0, 0, 0\] has no length'),
        ('ego_pose', dict(translation=None), 'ego_pose.json: ego: None in the place of 3 finite numbers'),
        ('calibrated_sensor', dict(rotation=None), 'cs-CAM_FRONT: None in the place of 4 finite numbers'),
        ('calibrated_sensor', dict(camera_intrinsic=[]), r'camera matrix: \[\] in the place of 3x3 finite numbers'),
        (
            'calibrated_sensor',
            dict(camera_intrinsic=[[0.0, 0, 1], [0, 0, 1], [0, 0, 1]]),
            'cs-CAM_FRONT: camera matrix: .* has no focal length',
        ),
        ('sample_data', dict(width=None), 'CAM_FRONT-scene-0061: a picture of None x 900 pixels'),
    ],
)
def test_a_pose_a_camera_matrix_or_a_size_that_is_none_is_refused_with_its_token(make_root, table, broken, message):
    root = make_root()
    change(root, table, lambda records: records[0].update(broken))
    with pytest.raises(DataError, match=message):
        read(root)


def test_what_is_broken_about_a_sensor_that_nobody_asks_for_does_not_matter(make_root):
    root = make_root()
    change(root, 'calibrated_sensor', lambda records: records[1].update(rotation=None, camera_intrinsic=None))
    assert len(read(root)) == 1


def test_outlines_of_two_nodes_or_without_numbers_are_left_out_and_counted(make_root):
    root, said = make_root(), []
    path = root / 'maps' / 'expansion' / 'boston-seaport.json'
    tables = json.loads(path.read_text())
    crossing = next(p for p in tables['polygon'] if p['token'] == tables['ped_crossing'][0]['polygon_token'])
    del crossing['exterior_node_tokens'][2:]
    walkway = next(p for p in tables['polygon'] if p['token'] == tables['walkway'][0]['polygon_token'])
    next(n for n in tables['node'] if n['token'] == walkway['exterior_node_tokens'][0])['x'] = None
    path.write_text(json.dumps(tables))
    (view,) = read(root, say=said.append)
    assert said == [f'{path}: 2 outlines of fewer than three nodes or without numbers have no area: left out.']
    bits_ZX = make_label(view, 'none')
    assert bit(bits_ZX, 0).any()
    assert not bit(bits_ZX, 1).any()
    assert not bit(bits_ZX, 2).any()
