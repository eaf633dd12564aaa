"""Scores against hand-computed ones."""

import pytest
import torch

from mmopt.evaluation import SegmentationIoU, confusion_matrix
from mmopt.structures import DataSample

LABEL = torch.tensor([[0, 0, 1, 255], [0, 1, 1, 2]], dtype=torch.uint8)
PRED = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 2]], dtype=torch.uint8)
CLASSES = ('a', 'b', 'c', 'd')


def make_metric(**options) -> SegmentationIoU:
    metric = SegmentationIoU(**options)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric


def test_confusion_counts_true_against_predicted_pixels_and_leaves_out_the_ignored():
    assert confusion_matrix(PRED, LABEL, 4).tolist() == [[2, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_scores_of_seven_pixels_are_those_computed_by_hand():
    """a: 2 right, 1 missed, 1 false, so IoU 2/4 and F1 2*2/6; b likewise; c: 1 of 1; d occurs nowhere."""
    metric = make_metric()
    metric.process({}, [DataSample(label=LABEL, pred_label=PRED)])
    scores = metric.evaluate(1)
    assert scores['mIoU'] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert scores['fwIoU'] == pytest.approx((3 * 0.5 + 3 * 0.5 + 1) / 7)
    assert scores['F1'] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert scores['aAcc'] == pytest.approx(5 / 7)
    assert {key: value for key, value in scores.items() if key.startswith('IoU.')} == {
        'IoU.a': 0.5, 'IoU.b': 0.5, 'IoU.c': 1.0,
    }  # fmt: skip
    assert 'edge_F1' not in scores


def test_edge_scores_count_the_band_alone():
    regions = torch.tensor([[0, 1, 3, 1], [2, 0, 0, 1]], dtype=torch.uint8)
    metric = make_metric(prefix='val')
    metric.process({}, [DataSample(label=LABEL, pred_label=PRED, regions=regions)])
    scores = metric.evaluate(1)
    # On the band: a taken for b, b right, c right.
    assert scores['val/edge_F1'] == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert scores['val/edge_mIoU'] == pytest.approx((0 + 1 / 2 + 1) / 3)


def test_batches_add_up_and_the_next_evaluation_starts_anew():
    whole, parts = make_metric(), make_metric()
    samples = [
        DataSample(label=torch.randint(0, 4, (6, 8)).byte(), pred_label=torch.randint(0, 4, (6, 8)).byte())
        for _ in range(5)
    ]
    whole.process({}, samples)
    parts.process({}, samples[:2])
    parts.process({}, samples[2:])
    want = whole.evaluate(5)
    assert parts.evaluate(5) == want
    parts.process({}, samples)
    assert parts.evaluate(5) == want


def test_memory_does_not_grow_with_the_data_set():
    metric = make_metric()
    for _ in range(3):
        metric.process({}, [DataSample(label=LABEL, pred_label=PRED)])
    held = [value for value in vars(metric).values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in held) == 2 * 4 * 4


def test_nothing_labeled_gives_zeros():
    metric = make_metric()
    assert metric.evaluate(0)['mIoU'] == 0.0


def test_predictions_of_another_size_and_missing_classes_say_what_to_do():
    with pytest.raises(ValueError, match=r'the prediction is \(2, 4\), the label \(4, 8\)'):
        make_metric().process({}, [DataSample(label=torch.zeros(4, 8), pred_label=PRED)])
    with pytest.raises(ValueError, match='no classes'):
        SegmentationIoU().process({}, [DataSample(label=LABEL, pred_label=PRED)])
