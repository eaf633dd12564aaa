import shutil

import numpy as np
import pytest

from mmopt.datasets.video import DriverActionDataset
from mmopt.datasets.video.prepare.driver import group_folds, prepare
from mmopt.utils.errors import DataError, UserError
from tests.datasets.video.conftest import SEGMENTS, write_labels, write_video


@pytest.fixture
def copy(root, tmp_path):
    shutil.copytree(root, tmp_path / 'data')
    return tmp_path / 'data'


def test_a_root_is_counted_indexed_and_divided_by_person(copy):
    report = prepare(copy, num_folds=2, num_workers=2)
    text = str(report)
    assert '2 recordings (0.00 h), 30 fps (2); 0 of them without keypoints' in text
    assert '10 segments: front 4, left 2, up 2, right_down 2' in text
    assert report.notes == []
    splits = {path.name: path.read_text() for path in (copy / 'splits').iterdir()}
    assert splits == {
        'fold_0_train.txt': 'person_02/day_high\n',
        'fold_0_val.txt': 'person_01/day_high\n',
        'fold_1_train.txt': 'person_01/day_high\n',
        'fold_1_val.txt': 'person_02/day_high\n',
    }
    assert len(list((copy / 'index').rglob('*.npz'))) == 6
    assert len(DriverActionDataset(data_root=str(copy), split_file='splits/fold_1_val.txt')) == len(SEGMENTS)


def test_folds_are_balanced_and_never_divide_a_person():
    assert group_folds(dict(a=10, b=4, c=3, d=3), 2) == [['a'], ['b', 'c', 'd']]
    assert group_folds(dict(a=5, b=5, c=5), 3) == [['a'], ['b'], ['c']]
    with pytest.raises(UserError, match='--num-folds 5: must be 2 or more, and at most the 3 persons'):
        group_folds(dict(a=1, b=1, c=1), 5)
    with pytest.raises(UserError, match='--num-folds 1'):
        group_folds(dict(a=1, b=1, c=1), 1)


def test_broken_recordings_are_listed_or_left_out(copy):
    (copy / 'videos_split' / 'person_01' / 'day_high' / 'left.mp4').write_bytes(b'broken')
    with pytest.raises(DataError, match=r'1 recordings of 2 cannot be used:\n.*left\.mp4: not a readable video'):
        prepare(copy, num_folds=2)
    shutil.copytree(copy / 'videos_split' / 'person_02', copy / 'videos_split' / 'person_03')
    shutil.copy(copy / 'label' / 'person_02_day_high.json', copy / 'label' / 'person_03_day_high.json')
    report = prepare(copy, num_folds=2, skip_missing=True)
    assert list(report.skipped) == ['person_01/day_high']
    assert 'left out 1: ' in str(report)
    assert 'person_01' not in (copy / 'splits' / 'fold_0_train.txt').read_text()
    assert report.num_without_keypoints == 1


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda root: write_labels(root / 'label' / 'person_01_day_high.json', []), 'no segment is labeled'),
        (
            lambda root: write_labels(root / 'label' / 'person_01_day_high.json', [(150, 160, 'up')]),
            'begins at frame 150, .*front.mp4 has 100',
        ),
        (
            lambda root: (root / 'keypoints' / 'person_01' / 'day_high' / '000070.npz').unlink(),
            '1 labeled frames have no keypoints, frame 70 first',
        ),
        (
            lambda root: np.savez(root / 'keypoints' / 'person_01' / 'day_high' / '000000.npz', np.zeros((2, 2))),
            r'shape \(2, 2\), must be \(52, 3\)',
        ),
        (
            lambda root: (root / 'mini.json').write_text('{"person_01": {"day_high": {"start": 0, "end": 0}}}'),
            'person_01/day_high has start 0 and end 0',
        ),
    ],
)
def test_what_contradicts_each_other_is_named(copy, damage, words):
    damage(copy)
    with pytest.raises(DataError, match=words):
        prepare(copy, num_folds=2)


def test_views_of_unequal_length_are_noted(copy):
    folder = copy / 'videos_split' / 'person_01' / 'day_high'
    write_video(folder / 'right.mp4', 70)
    report = prepare(copy, num_folds=2)
    assert report.notes == ['person_01/day_high: right ends -1.00 s from front']
