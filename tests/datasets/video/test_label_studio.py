"""Exports of Label Studio in each of its forms."""

import json

import numpy as np
import pytest

from mmopt.datasets.video.layout import read_keypoints, read_segments
from mmopt.utils.errors import DataError

UP = dict(timelinelabels=['up'], ranges=[dict(start=5, end=9)])
DOWN = dict(timelinelabels=['down'], ranges=[dict(start=0, end=3), dict(start=9, end=12)])
BOX = dict(sequence=[dict(frame=1, x=1, y=2)], labels=['head'], framesCount=12)
POINT = dict(x=1.0, y=2.0, width=0.5, keypointlabels=['nose'])
WANTED = [[0, 3, 1], [5, 9, 0], [9, 12, 1]]


def annotation(*labels) -> dict:
    return dict(videoLabels=list(labels))


def result(*labels) -> dict:
    return dict(result=[dict(type='timelinelabels', value=label) for label in labels])


@pytest.fixture
def read(tmp_path):
    def _read(content):
        (tmp_path / 'a.json').write_text(json.dumps(content))
        return read_segments(tmp_path / 'a.json', ('up', 'down')).tolist()

    return _read


@pytest.mark.parametrize(
    'content',
    [
        dict(annotations=[annotation(UP, DOWN)]),
        dict(annotations=[annotation(UP), annotation(DOWN)]),
        [dict(annotations=[annotation(UP)]), dict(annotations=[annotation(DOWN)])],
        [dict(annotations=[result(UP, DOWN)], data=dict(video='a.mp4'))],
        [dict(video='a.mp4', videoLabels=[UP]), dict(video='a.mp4', videoLabels=[DOWN])],
        dict(annotations=[annotation(UP, BOX, DOWN)]),
        dict(annotations=[result(UP, POINT, DOWN)]),
    ],
)
def test_every_form_reads_to_the_same_segments(read, content):
    assert read(content) == WANTED


def test_tasks_of_several_videos_are_refused(read):
    with pytest.raises(DataError, match=r'its 2 tasks are of 2 videos \(a.mp4, b.mp4\): export one file for each'):
        read([dict(video='a.mp4', videoLabels=[UP]), dict(data=dict(video='b.mp4'), annotations=[result(DOWN)])])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], None),
        ([3], 'has no annotations'),
        (dict(labels=[]), 'has no annotations'),
        (dict(annotations=[dict(other=[])]), 'has no annotations'),
        (dict(annotations=[annotation(dict(timelinelabels=['up', 'down'], ranges=[]))]), 'needs one timelinelabels'),
        (
            dict(annotations=[result(dict(timelinelabels=['up'], ranges=[dict(start='a', end=3)]))]),
            'needs one timeline',
        ),
    ],
)
def test_what_is_no_export_says_which_to_make(read, content, message):
    if message is None:
        assert read(content) == []
        return
    with pytest.raises(DataError, match=message):
        read(content)


def test_keypoints_that_were_saved_as_texts(tmp_path):
    np.savez(tmp_path / 'a.npz', np.array([['1', '2', 'nan'], ['4', '5.5', '6']]))
    assert read_keypoints(tmp_path / 'a.npz', 2).tolist() == [[1, 2, 0], [4, 5.5, 6]]
    np.savez(tmp_path / 'a.npz', np.array([['1', '2', 'x'], ['4', '5', '6']]))
    with pytest.raises(DataError, match='a.npz: holds .*, must hold numbers'):
        read_keypoints(tmp_path / 'a.npz', 2)
