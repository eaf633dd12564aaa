import json
from collections import Counter

import pytest

from mmopt.datasets.bev.prepare.splits import official_split, read_split_file
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

NAMES = ['scene-0061', 'scene-0103', 'scene-0553']


def test_the_mini_split_has_eight_and_two_scenes():
    everything = [f'scene-{number:04d}' for number in range(1200)]
    split = official_split('v1.0-mini', everything)
    assert Counter(split.values()) == {'train': 8, 'val': 2}
    assert split['scene-0103'] == split['scene-0916'] == 'val'


def test_the_full_split_has_150_scenes_for_validation_and_the_rest_for_training():
    everything = [f'scene-{number:04d}' for number in range(1200)]
    split = official_split('v1.0-trainval', everything)
    assert Counter(split.values()) == {'train': 1050, 'val': 150}
    # The ends and the gaps of the list.
    val = {name for name, part in split.items() if part == 'val'}
    assert {'scene-0003', 'scene-0110', 'scene-0221', 'scene-0553', 'scene-1073'} <= val
    assert not val & {'scene-0002', 'scene-0037', 'scene-0111', 'scene-0628', 'scene-0918', 'scene-0970', 'scene-1074'}


def test_a_version_without_split_asks_for_a_file():
    with pytest.raises(UserError, match=r'v1.0-test has no official split into train and val: .* --split-file'):
        official_split('v1.0-test', NAMES)


def test_a_split_file_keeps_the_scenes_that_the_tables_hold(tmp_path):
    path = tmp_path / 'split.json'
    path.write_text(json.dumps(dict(train=['scene-0103', 'scene-7777'], val=['scene-0061'])))
    assert read_split_file(path, NAMES) == {'scene-0061': 'val', 'scene-0103': 'train'}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'split.json: not readable as JSON'),
        ('["scene-0061"]', 'split.json: must be {"train": '),
        ('{"train": ["scene-0061"], "val": ["scene-0061"]}', 'scene-0061 must not be in both train and val'),
        ('{"train": ["scene-1"], "val": []}', 'none of its 1 scenes is in the tables, which hold scene-0061'),
    ],
)
def test_a_wrong_split_file_is_explained(tmp_path, content, message):
    path = tmp_path / 'split.json'
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_split_file(path, NAMES)


def test_a_missing_split_file_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r'split.json: no such split file'):
        read_split_file(tmp_path / 'split.json', NAMES)
