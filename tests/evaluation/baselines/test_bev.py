"""The baseline that never sees the image, against a literal reference and by hand."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmopt.evaluation import BEVIoU, bev_image_blind, input_blind_iou
from mmopt.evaluation.baselines.bev import input_blind_prediction
from mmopt.evaluation.bev.iou import NUSCENES_CLASSES
from mmopt.utils.errors import DataError

IGNORE = 1 << 14


def random_labels(seed: int, num: int = 6, shape: tuple[int, int] = (5, 4)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chance = rng.random((14, *shape)) * 0.8
    maps = rng.random((num, 14, *shape)) < chance
    bits = (maps * (1 << np.arange(14))[:, None, None]).sum(1)
    return (bits | IGNORE * (rng.random((num, *shape)) < 0.3)).astype(np.uint16)


def literal_prediction(train: np.ndarray) -> np.ndarray:
    """Try every threshold, cell by cell."""
    best = np.zeros((14, *train.shape[1:]), bool)
    for c in range(14):
        frequency = np.zeros(train.shape[1:])
        for place in np.ndindex(train.shape[1:]):
            counted = [bits for bits in train[(slice(None), *place)] if not bits & IGNORE]
            if counted:
                frequency[place] = np.mean([bool(bits & 1 << c) for bits in counted])
        scores = {}
        for threshold in set(frequency[frequency > 0].tolist()):
            predicted = frequency >= threshold
            tp = fp = fn = 0
            for image in train:
                for place in np.ndindex(image.shape):
                    if not image[place] & IGNORE:
                        truth = bool(image[place] & 1 << c)
                        tp += predicted[place] and truth
                        fp += predicted[place] and not truth
                        fn += truth and not predicted[place]
            scores[threshold] = tp / (tp + fp + fn)
        if scores:
            best[c] = frequency >= max(scores, key=lambda t: (scores[t], t))
    return best


@pytest.mark.parametrize('seed', range(3))
def test_thresholds_equal_the_literal_search(seed):
    train = random_labels(seed)
    assert (input_blind_prediction(train) == literal_prediction(train)).all()


def test_it_is_scored_as_a_network_that_predicts_the_same_map():
    train, val = random_labels(1), random_labels(2)
    bits = torch.from_numpy((input_blind_prediction(train) * (1 << np.arange(14))[:, None, None]).sum(0))
    metric = BEVIoU()
    metric.process({}, [dict(pred_bits=bits, label_bits=torch.from_numpy(label.astype(np.int32))) for label in val])
    expected = metric.evaluate(len(val))
    found = input_blind_iou(train, val)
    assert found == pytest.approx({key: expected[key] for key in found})


def test_by_hand():
    """One class, three cells, two images: cell 0 always, cell 1 in one of two, cell 2 never counts."""
    train = np.array([[[1, 1, IGNORE | 1]], [[1, 0, IGNORE]]], np.uint16)
    # {cell 0}: 2 / 3. {cell 0, cell 1}: 3 / 4, the better one.
    assert input_blind_prediction(train)[0].tolist() == [[True, True, False]]
    val = np.array([[[1, 0, 1]]], np.uint16)
    # tp 1 (cell 0), fp 1 (cell 1), fn 1 (cell 2); no other class occurs.
    assert input_blind_iou(train, val) == dict(mIoU=pytest.approx(1 / 3), **{'IoU.drivable_area': pytest.approx(1 / 3)})


def test_nothing_to_count_scores_zero():
    empty = np.full((2, 3, 3), IGNORE, np.uint16)
    assert input_blind_iou(empty, empty) == dict(mIoU=0.0)


def make_dataset(folder, labels: np.ndarray) -> SimpleNamespace:
    folder.mkdir()
    paths = [str(folder / f'{index}.png') for index in range(len(labels))]
    for path, label in zip(paths, labels, strict=True):
        assert cv2.imwrite(path, label)

    class Dataset(SimpleNamespace):
        def __len__(self) -> int:
            return len(paths)

        def get_data_info(self, index: int) -> dict:
            return dict(label_path=paths[index])

    return Dataset(metainfo=dict(classes=NUSCENES_CLASSES), paths=paths)


def test_as_a_baseline_it_reads_the_labels_of_two_data_sets(tmp_path):
    train, val = random_labels(3), random_labels(4)
    datasets = make_dataset(tmp_path / 'train', train), make_dataset(tmp_path / 'val', val)
    assert bev_image_blind(*datasets) == input_blind_iou(train, val)


def test_a_broken_label_is_named(tmp_path):
    dataset = make_dataset(tmp_path / 'train', random_labels(3, num=1))
    with open(dataset.paths[0], 'wb') as file:
        file.write(b'no image')
    with pytest.raises(DataError, match=r'0\.png: not readable'):
        bev_image_blind(dataset, dataset)
