"""What is drawn of a segmentation, and what it says in numbers."""

import numpy as np

from mmopt.datasets.segmentation.result import SegmentationResult

PALETTE = [(200, 40, 40), (40, 40, 200), (40, 200, 40)]


def _result(label: np.ndarray, classes=('road', 'car', 'tree')) -> SegmentationResult:
    return SegmentationResult(label, classes, PALETTE, lambda: np.full((*label.shape, 3), 128, np.uint8))


def _halves(height: int, width: int) -> np.ndarray:
    label = np.zeros((height, width), np.uint8)
    label[:, width // 2 :] = 1
    return label


def test_regions_bear_the_names_of_their_classes():
    label = _halves(300, 600)
    named, unnamed = _result(label).draw(), _result(label, classes=('', '', '')).draw()
    changed = (named != unnamed).any(axis=-1)
    assert changed[:, :290].any()
    assert changed[:, 310:].any()
    assert (named[changed].max(axis=-1) == 255).any()  # white letters
    assert (named[changed].max(axis=-1) < 80).any()  # on a dark ground
    assert not changed[:60].any()  # in the middle of their regions


def test_a_region_without_room_for_its_name_has_none():
    label = np.zeros((300, 600), np.uint8)
    label[10:14, 10:14] = 1
    picture = _result(label).draw()
    assert (picture[4:24, 4:60].max(axis=-1) < 255).all()


def test_classes_end_in_a_dark_line():
    picture = _result(_halves(300, 600), classes=('', '', '')).draw()
    line, beside = picture[20, 300].astype(int), picture[20, 320].astype(int)
    assert line.sum() < 0.5 * beside.sum()
    assert (_result(_halves(300, 600)).picture == 128).all()  # the picture itself stays


def test_areas_are_pixels_of_classes():
    result = _result(_halves(10, 20))
    assert result.areas() == dict(road=100, car=100, tree=0)
    assert result.to_json() == dict(size=[10, 20], pixels=dict(road=100, car=100, tree=0))
