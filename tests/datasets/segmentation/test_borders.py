"""Distances and regions against slow literal ones, and the cache on disk."""

import os

import cv2
import numpy as np
import pytest

from mmopt.datasets.segmentation import distance_cache
from mmopt.datasets.segmentation.borders import NO_BORDER, border_distance, border_pixels, border_regions
from mmopt.datasets.segmentation.distance_cache import distance_map, label_key
from mmopt.utils.errors import UserError


def blocks(seed: int = 0, height: int = 24, width: int = 36) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 5, (height // 6, width // 6)).astype(np.uint8).repeat(6, 0).repeat(6, 1)
    label[rng.integers(0, height, 8), rng.integers(0, width, 8)] = 255
    return label


def literal_distance(label: np.ndarray) -> np.ndarray:
    height, width = label.shape
    borders = []
    for row in range(height):
        for column in range(width):
            for other_row, other_column in ((row + 1, column), (row, column + 1)):
                if other_row < height and other_column < width:
                    pair = int(label[row, column]), int(label[other_row, other_column])
                    if 255 not in pair and pair[0] != pair[1]:
                        borders += [(row, column), (other_row, other_column)]
    rows, columns = np.mgrid[:height, :width]
    return np.sqrt(np.min([(rows - r) ** 2 + (columns - c) ** 2 for r, c in borders], axis=0))


@pytest.mark.parametrize('seed', range(4))
def test_distances_are_the_exact_euclidean_ones(seed):
    label = blocks(seed)
    want = literal_distance(label)
    assert np.array_equal(border_distance(label), np.floor(want * 16 + 1e-6).astype(np.uint16))
    assert np.array_equal(border_pixels(label), want == 0)


@pytest.mark.parametrize('width', [1, 2, 3])
def test_the_band_has_its_width_on_either_side_of_a_border(width):
    label = np.zeros((9, 20), np.uint8)
    label[:, 10:] = 1
    regions = border_regions(border_distance(label), 16 * 9, edge_width=width, near=0.3)
    assert np.flatnonzero(regions[4] & 1).tolist() == list(range(10 - width, 10 + width))


def test_near_is_a_share_of_the_largest_distance():
    label = np.zeros((1, 31), np.uint8)
    label[:, :1] = 1  # distances 0, 0, 1, ..., 29 px; 0.3 of 29 is 8.7
    distance = border_distance(label)
    regions = border_regions(distance, int(distance.max()), edge_width=2, near=0.3)
    assert np.flatnonzero(regions[0] & 2).tolist() == list(range(10))


def test_borders_of_ignored_areas_and_images_of_one_class_have_none():
    label = np.full((8, 8), 3, np.uint8)
    label[2:4, 2:4] = 255
    distance = border_distance(label)
    assert (distance == NO_BORDER).all()
    assert not border_regions(distance, 0, edge_width=2, near=0.3).any()


def test_a_map_is_made_once_per_label_and_read_from_the_disk_afterwards(tmp_path, monkeypatch):
    label = blocks()
    first, largest = distance_map(label, tmp_path / 'maps')
    monkeypatch.setattr(distance_cache, 'border_distance', None)  # whoever computes again fails
    again, same = distance_map(label.copy(), tmp_path / 'maps')
    assert np.array_equal(first, again)
    assert largest == same == first.max()
    assert [path.name for path in (tmp_path / 'maps').iterdir()] == [f'{label_key(label)}.dist']


def test_another_label_has_another_key():
    label = blocks()
    other = label.copy()
    other[0, 0] += 1
    assert len({label_key(label), label_key(other), label_key(label.reshape(36, 24))}) == 3


@pytest.mark.parametrize('harm', ['cut', 'header', 'empty'])
def test_a_broken_file_is_made_anew(tmp_path, harm):
    label = blocks()
    want, largest = distance_map(label, tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(dict(cut=content[:-3], header=b'x' + content[1:], empty=b'')[harm])
    got, again = distance_map(label, tmp_path)
    assert np.array_equal(got, want)
    assert again == largest
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_to_names_the_option(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(UserError, match=r'cannot be (read|written) .*Set cache_dir|set cache_dir'):
        distance_map(blocks(), tmp_path / 'file' / 'maps')


def test_threads_of_opencv_change_nothing():
    label = cv2.resize(blocks(), (200, 150), interpolation=cv2.INTER_NEAREST)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = border_distance(label)
        cv2.setNumThreads(min(os.cpu_count(), 4))
        assert np.array_equal(one, border_distance(label))
    finally:
        cv2.setNumThreads(before)
