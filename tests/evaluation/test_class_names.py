"""Metrics on a data set that names no classes: a user's own, mostly."""

import pytest

from mmopt.evaluation import ActionClassification, CocoDetection, SegmentationIoU, TemporalDetection
from mmopt.evaluation.class_names import class_names


@pytest.mark.parametrize('kind', [ActionClassification, CocoDetection, SegmentationIoU, TemporalDetection])
@pytest.mark.parametrize('meta', [None, {}, dict(classes=())], ids=repr)
def test_a_data_set_without_classes_is_told_how_to_name_them(kind, meta):
    metric = kind()
    metric.dataset_meta = meta
    with pytest.raises(ValueError, match=rf'{kind.__name__}: no classes; give the data set metainfo=dict\(classes='):
        class_names(metric)


def test_a_detection_metric_asks_for_them():
    metric = CocoDetection()
    metric.dataset_meta = {}
    with pytest.raises(ValueError, match='CocoDetection: no classes'):
        metric.evaluate(0)
