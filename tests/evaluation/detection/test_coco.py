"""COCO metrics: equal to the reference implementation, and by hand where it has none."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from mmopt.evaluation import BoxPrior, CocoDetection
from mmopt.evaluation.baselines.detection import choose_boxes
from mmopt.evaluation.detection.coco_scores import ImageBoxes, coco_scores, confidence_curve, to_coco
from mmopt.ops.boxes import box_iou
from mmopt.structures import DataSample

SIZE = (480, 640)


def random_images(count: int, num_classes: int, seed: int = 0) -> list[ImageBoxes]:
    """Images with boxes of all sizes; predictions are shifted truth, false ones and doubles, with equal scores."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        corner = rng.uniform(0, 400, (rng.integers(0, 7), 2))
        truth = np.concatenate((corner, corner + rng.uniform(5, 180, corner.shape)), axis=1)
        labels = rng.integers(0, num_classes, len(truth))
        crowd = rng.random(len(truth)) < 0.1
        found = truth[rng.random(len(truth)) < 0.8]
        moved = np.repeat(found, 2, axis=0)
        moved += rng.normal(0, 6, moved.shape)
        noise = rng.uniform(0, 300, (3, 2))
        boxes = np.concatenate((moved, np.concatenate((noise, noise + rng.uniform(5, 100, (3, 2))), axis=1)))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        images.append(
            ImageBoxes(
                boxes,
                rng.random(len(boxes)).round(2),
                rng.integers(0, num_classes, len(boxes)),
                np.concatenate((truth, labels[:, None], crowd[:, None]), axis=1),
                SIZE,
            )
        )
    return images


@pytest.mark.parametrize('num_classes', [1, 3])
def test_every_number_equals_pycocotools_to_1e_6(num_classes):
    pycocotools = pytest.importorskip('pycocotools.coco', reason='pycocotools is a development requirement')
    from pycocotools.cocoeval import COCOeval

    classes = tuple('abc'[:num_classes])
    images = random_images(60, num_classes)
    scores = coco_scores(images, classes)
    truth, predictions = to_coco(images, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        gt = pycocotools.COCO()
        gt.dataset = truth
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(predictions), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ('mAP', 'mAP50', 'mAP75', 'mAP_small', 'mAP_medium', 'mAP_large', 'AR1', 'AR10', 'AR100')
    assert {name: scores[name] for name in names} == pytest.approx(
        dict(zip(names, evaluation.stats[:9], strict=True)), abs=1e-6
    )
    assert 0.02 < scores['mAP'] < 0.9
    if num_classes > 1:
        by_class = evaluation.eval['precision'][0, :, :, 0, 2].mean(axis=0)
        assert [scores[f'mAP50.{name}'] for name in classes] == pytest.approx(by_class.tolist(), abs=1e-6)


def one(truth, boxes, scores, labels=None) -> ImageBoxes:
    truth = np.array(truth, dtype=float).reshape(-1, 6)
    boxes = np.array(boxes, dtype=float).reshape(-1, 4)
    return ImageBoxes(boxes, np.array(scores, float), np.array(labels or [0] * len(boxes), int), truth, SIZE)


BOX = [10, 10, 50, 50]


def test_precision_and_recall_over_the_confidence_by_hand():
    """Right at 0.9, a double at 0.8, right at 0.7, wrong at 0.2; one box is never found."""
    truth = [[*BOX, 0, 0], [100, 100, 140, 140, 0, 0], [200, 200, 220, 220, 0, 0]]
    boxes = [BOX, BOX, [101, 101, 141, 141], [300, 300, 320, 320]]
    curve = confidence_curve([one(truth, boxes, [0.9, 0.8, 0.7, 0.2]), one([], [], [])])
    assert curve.confidence.tolist() == [0.9, 0.8, 0.7, 0.2]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert curve.recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert curve.best() == 0.7
    assert curve.at(0.7) == pytest.approx(dict(precision=2 / 3, recall=2 / 3, F1=2 / 3, fp_per_image=0.5))
    assert curve.at(0.95) == dict(precision=0.0, recall=0.0, F1=0.0, fp_per_image=0.0)


def test_predictions_on_a_crowd_count_neither_way():
    curve = confidence_curve([one([[0, 0, 200, 200, 0, 1], [300, 300, 340, 340, 0, 0]], [BOX], [0.9])])
    assert len(curve.confidence) == 0
    assert curve.num_truth == 1


def test_a_right_box_of_another_class_is_wrong():
    curve = confidence_curve([one([[*BOX, 1, 0]], [BOX], [0.9], [0])])
    assert curve.recall.tolist() == [0]


def test_images_without_truth_count_false_positives_and_give_no_precision():
    images = [one([], [BOX, [60, 60, 90, 90]], [0.9, 0.4]), one([], [BOX], [0.8])]
    assert coco_scores(images, ('drone',)) == dict(mAP=0.0, mAP50=0.0)
    curve = confidence_curve(images)
    assert curve.at(0.5)['fp_per_image'] == 1.0
    assert curve.at(0.0)['fp_per_image'] == 1.5


def test_without_any_prediction_all_is_zero():
    scores = coco_scores([one([[*BOX, 0, 0]], [], [])], ('drone',))
    assert scores['mAP'] == scores['mAP50'] == scores['AR100'] == 0
    assert 'mAP_small' not in scores  # no such box in the truth


def sample_of(letterbox, boxes, scores, truth) -> DataSample:
    sample = DataSample(metainfo=dict(letterbox=letterbox, ori_shape=(60, 80)))
    sample.pred_boxes = torch.tensor(boxes).view(-1, 4)
    sample.pred_scores, sample.pred_labels = torch.tensor(scores), torch.zeros(len(scores), dtype=torch.long)
    sample.truth = torch.tensor(truth).view(-1, 6)
    return sample


def test_predictions_are_measured_in_pixels_of_the_file(tmp_path):
    metric = CocoDetection(out_dir=str(tmp_path / 'curves'))
    metric.dataset_meta = dict(classes=('drone',))
    for _ in range(2):  # a second evaluation starts anew
        metric.process(None, [sample_of((0.8, 0.8, 0, 8), [6.4, 12.8, 22.4, 28.8], [0.9], [8.0, 6, 28, 26, 0, 0])])
        metrics = metric.evaluate(1)
        assert metrics['mAP'] == pytest.approx(1.0)
        assert metrics['F1'] == pytest.approx(1.0)
        assert metrics['confidence'] == pytest.approx(0.9)
    assert (tmp_path / 'curves' / 'confidence_curve.png').stat().st_size > 1000
    assert json.loads((tmp_path / 'curves' / 'confidence_curve.json').read_text())['F1'] == [1.0]


class _Boxes:
    metainfo = dict(classes=('drone',))

    def __init__(self, boxes, size=(100, 100)):
        self.items = [dict(truth=np.array([[*box, 0, 0]], dtype=np.float32), ori_shape=size) for box in boxes]

    def __len__(self):
        return len(self.items)

    def get_data_info(self, index):
        return dict(self.items[index])


def test_the_prior_predicts_the_boxes_that_find_most_others():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 90, 90], [0, 0, 11, 11], [1, 0, 11, 10]], dtype=float)
    chosen, scores = choose_boxes(boxes, 10)
    assert scores.tolist() == [0.75, 0.25]
    assert chosen[1].tolist() == [50, 50, 90, 90]


def test_the_prior_knows_a_set_whose_boxes_are_always_in_one_place_and_not_one_where_they_are_elsewhere():
    fixed = [[10, 10, 30, 30]] * 4
    assert BoxPrior()(_Boxes(fixed), _Boxes([[20, 20, 60, 60]], size=(200, 200)))['mAP50'] == pytest.approx(1.0)
    assert BoxPrior()(_Boxes(fixed), _Boxes([[70, 70, 90, 90]]))['mAP50'] == 0


def score_constant_boxes(boxes, train, val) -> float:
    """mAP50 of the same boxes in every image, in the best order known without it: by the training boxes each finds."""
    known = torch.tensor(np.concatenate([item['truth'][:, :4] for item in train.items]), dtype=torch.float64)
    scores = (box_iou(torch.tensor(boxes), known) >= 0.5).double().mean(dim=1).numpy()
    labels = np.zeros(len(boxes), int)
    images = [ImageBoxes(boxes, scores, labels, item['truth'], item['ori_shape']) for item in val.items]
    return coco_scores(images, ('drone',))['mAP50']


def test_the_prior_beats_other_constant_boxes():
    """Boxes of all sizes gather in two places; its rivals are what a person might think of."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> _Boxes:
        middle = np.where(rng.random((count, 1)) < 0.6, [[25.0, 30.0]], [[70.0, 60.0]]) + rng.normal(0, 4, (count, 2))
        half = rng.uniform(6, 14, (count, 2))
        return _Boxes(np.concatenate((middle - half, middle + half), axis=1).clip(0, 100).tolist())

    train, val = draw(300), draw(100)
    known = np.concatenate([item['truth'][:, :4] for item in train.items]).astype(float)
    half = (known[:, 2:] - known[:, :2]).mean(axis=0) / 2
    grid = np.stack(np.meshgrid(np.arange(10.0, 100, 10), np.arange(10.0, 100, 10)), axis=-1).reshape(-1, 2)
    two = np.array([[25.0, 30.0], [70.0, 60.0]])
    rivals = {
        'the mean box': known.mean(axis=0, keepdims=True),
        'training boxes': known[:100],
        'a grid of the mean size': np.concatenate((grid - half, grid + half), axis=1),
        'the mean size in both places': np.concatenate((two - half, two + half), axis=1),
    }
    reached = {name: score_constant_boxes(boxes, train, val) for name, boxes in rivals.items()}
    assert BoxPrior()(train, val)['mAP50'] > 1.2 * max(reached.values()), reached


def test_the_prior_of_no_box_predicts_nothing():
    empty = _Boxes([])
    empty.items = [dict(truth=np.zeros((0, 6), np.float32), ori_shape=(100, 100))] * 2
    assert BoxPrior()(empty, _Boxes([[10, 10, 30, 30]]))['mAP50'] == 0
    assert BoxPrior()(empty, empty) == dict(mAP=0.0, mAP50=0.0)
