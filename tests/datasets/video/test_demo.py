"""The demo's world: what the figure does, and what is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmopt.datasets.video import DriverActionDataset
from mmopt.datasets.video.demo.figure import DIRECTIONS, Driver, act, as_array, pose_points
from mmopt.datasets.video.demo.make import _recording, make_demo
from mmopt.datasets.video.layout import DRIVER_ACTIONS
from mmopt.datasets.video.prepare.driver import prepare
from mmopt.structures.driver_skeleton import DRIVER_KEYPOINTS
from mmopt.utils.errors import UserError

SMALL = dict(num_train=2, num_val=1, image_size=(64, 64))


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp('demo') / 'driver', **SMALL)


def test_every_environment_occurs_and_none_twice_for_a_person():
    places = [_recording(Path(), 'train', index) for index in range(12)]
    assert len({place.name for place in places}) == 12
    assert {place.environment for place in places} == {'day_high', 'day_low', 'night_high', 'night_low'}


@pytest.mark.parametrize('action', DRIVER_ACTIONS)
def test_the_nose_points_where_the_action_says(action):
    driver = Driver.draw(np.random.default_rng(0))
    points = pose_points(driver, *DIRECTIONS[action], 0.0)
    nose = points['nose'] - points['head']
    assert ('left' in action, 'right' in action) == (nose[0] > 0.03, nose[0] < -0.03)
    assert ('up' in action, 'down' in action) == (nose[1] > 0.02, nose[1] < -0.04)
    assert as_array(points).shape == (len(DRIVER_KEYPOINTS), 3)


def test_limbs_keep_their_lengths_while_the_head_turns():
    driver = Driver.draw(np.random.default_rng(0))
    poses = [pose_points(driver, *DIRECTIONS[action], 0.0) for action in ('front', 'left', 'down')]
    for first, second in (('nose', 'head'), ('left_eye', 'nose'), ('left_index_1', 'left_wrist')):
        lengths = [np.linalg.norm(points[first] - points[second]) for points in poses]
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


def test_the_head_follows_the_plan():
    angles = act([(10, 30, 'left'), (30, 50, 'front')], 60, 10, np.random.default_rng(0))
    assert np.abs(angles[:10]).max() < 0.15
    assert angles[15:30, 0].min() > 0.5 * DIRECTIONS['left'][0]
    assert np.abs(angles[40:, 0]).max() < 0.2


def test_the_set_is_complete_and_prepared_without_a_complaint(demo):
    root = demo.out
    report = prepare(root, num_folds=2)
    assert report.notes == []
    assert report.num_without_keypoints == 0
    assert set(report.per_action.values()) == {6}
    train, val = (DriverActionDataset(f'splits/fold_0_{split}.txt', data_root=str(root), load_kpt=True, img_size=32)
                  for split in ('train', 'val'))  # fmt: skip
    persons = [
        {data[i]['data_samples'].recording.split('/')[0] for i in range(0, len(data), 5)} for data in (train, val)
    ]
    assert persons[0].isdisjoint(persons[1])
    span = json.loads((root / 'mini.json').read_text())['person_01']['day_high']
    assert 0 < span['start'] < span['mid'] < span['end']


def test_keypoints_and_labels_belong_together(demo):
    data = DriverActionDataset(data_root=str(demo.out), load_rgb=False, load_kpt=True)
    nose, neck = (DRIVER_KEYPOINTS.index(name) for name in ('nose', 'neck'))
    sideways = {}
    for index in range(len(data)):
        packed = data[index]
        points = packed['inputs']['keypoints'][3:]
        found = (points[:, nose] != 0).any(1) & (points[:, neck] != 0).any(1)
        sideways.setdefault(int(packed['data_samples'].label), []).append(
            (points[found, nose] - points[found, neck])[:, 0].mean()
        )
    means = {DRIVER_ACTIONS[label]: float(np.mean(values)) for label, values in sideways.items()}
    assert min(means, key=means.get) == 'right'
    assert max(means, key=means.get) == 'left'


@pytest.mark.parametrize('num_workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_same_settings_give_the_same_bytes_for_any_number_of_workers(demo, tmp_path, num_workers):
    again = make_demo(tmp_path / 'again', num_workers=num_workers, **SMALL)
    assert again.seconds > 0
    names = sorted(
        path.relative_to(demo.out) for path in demo.out.rglob('*') if path.is_file() and 'index' not in path.parts
    )
    names = [name for name in names if name.parts[0] not in ('splits', 'index')]
    assert len(names) > 100
    for name in names:
        if name.suffix == '.npz':
            with np.load(demo.out / name) as one, np.load(again.out / name) as two:
                np.testing.assert_array_equal(one['keypoints'], two['keypoints'])
        else:
            assert (demo.out / name).read_bytes() == (again.out / name).read_bytes(), name


def test_a_complete_set_is_left_alone_and_others_are_not_overwritten(demo, tmp_path):
    assert make_demo(demo.out, **SMALL).seconds == 0
    with pytest.raises(UserError, match='holds a demo of other settings'):
        make_demo(demo.out, **(SMALL | dict(seed=1)))
    with pytest.raises(UserError, match=r'needs an even height and width, got image_size=\(65, 64\)'):
        make_demo(tmp_path / 'odd', **(SMALL | dict(image_size=(65, 64))))
    with pytest.raises(UserError, match='at most 200 training recordings, got 201'):
        make_demo(tmp_path / 'many', num_train=201)
