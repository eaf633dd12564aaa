"""The label that knows no image, counted by hand."""

import cv2
import numpy as np
import pytest

from mmopt.datasets.segmentation.masks import read_label
from mmopt.evaluation import majority_map
from mmopt.utils.errors import DataError

TABLE = np.arange(256, dtype=np.uint8)
TABLE[7] = 255  # value 7 does not count


@pytest.fixture
def labeled(tmp_path):
    """Make a data set of label files."""

    class Labeled:
        metainfo = dict(classes=('a', 'b', 'c'))

        def __init__(self, *labels):
            self.infos = []
            for label in labels:
                path = tmp_path / f'{len(list(tmp_path.iterdir()))}.png'
                cv2.imwrite(str(path), np.array(label, np.uint8))
                self.infos.append(dict(label_path=str(path), label_table=TABLE))

        def __len__(self):
            return len(self.infos)

        def get_data_info(self, index):
            return self.infos[index]

        def read_label(self, info):
            return read_label(info['label_path'], info['label_table'])

    return Labeled


def test_every_place_has_the_class_that_is_most_frequent_there(labeled):
    """The map is a b a: in the last column two of three do not count, and one is a."""
    train = labeled([[0, 1, 7]], [[0, 1, 7]], [[1, 0, 0]])
    scores = majority_map(train, labeled([[0, 1, 1]], [[0, 0, 7]]))
    # a: right twice, once taken for b, once predicted where b is. b: right once, one missed, one false.
    assert scores['IoU.a'] == pytest.approx(2 / 4)
    assert scores['IoU.b'] == pytest.approx(1 / 3)
    assert scores['mIoU'] == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert scores['aAcc'] == pytest.approx(3 / 5)
    assert 'IoU.c' not in scores


def test_labels_of_another_size_count_at_their_relative_place(labeled):
    train = labeled([[0, 1]], [[0, 0, 1, 1], [0, 0, 1, 1]])
    assert majority_map(train, labeled([[0, 0, 0, 1, 1, 1]]))['mIoU'] == 1.0


def test_a_broken_label_is_named(labeled):
    train = labeled([[0, 1]])
    with open(train.infos[0]['label_path'], 'w') as file:
        file.write('no image')
    with pytest.raises(DataError, match=r'0\.png: not an image that OpenCV can decode'):
        majority_map(train, train)
