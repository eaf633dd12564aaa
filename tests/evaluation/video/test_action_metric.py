import numpy as np
import pytest
import torch

from mmopt.engine.hooks import MetricPicturesHook
from mmopt.evaluation import ActionClassification, majority_class
from mmopt.evaluation.video.action_metric import macro_scores
from mmopt.structures import DataSample

CLASSES = ('left', 'right', 'front')


def evaluate(pairs, **options) -> tuple[dict[str, float], ActionClassification]:
    """Pairs of (truth, prediction), in batches of two."""
    metric = ActionClassification(**options)
    metric.dataset_meta = dict(classes=CLASSES)
    samples = []
    for truth, predicted in pairs:
        sample = DataSample()
        sample.label, sample.pred_label = torch.tensor(truth), torch.tensor(predicted)
        samples.append(sample.to_dict())  # MMEngine's evaluator hands dicts
    for start in range(0, len(samples), 2):
        metric.process(None, samples[start : start + 2])
    return metric.evaluate(len(samples)), metric


def test_scores_by_hand():
    """left: 2 of 3 found, one false; right: 1 of 1, one false; front: never predicted."""
    scores, metric = evaluate([(0, 0), (0, 0), (0, 1), (1, 1), (2, 0)])
    assert metric.confusion_KK.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert scores['accuracy'] == pytest.approx(3 / 5)
    assert scores['precision'] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores['recall'] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores['F1'] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert scores['F1.right'] == pytest.approx(2 / 3)


def test_classes_that_never_occur_and_samples_without_a_label_do_not_count():
    scores, metric = evaluate([(0, 0), (1, 1), (-1, 2), (-1, 0)])
    assert metric.confusion_KK.sum() == 2
    assert (scores['accuracy'], scores['F1'], 'F1.front' in scores) == (1.0, 1.0, False)


def test_every_evaluation_starts_anew_and_may_carry_a_prefix():
    first, metric = evaluate([(0, 1)], prefix='val')
    assert first['val/accuracy'] == 0
    sample = DataSample()
    sample.label = sample.pred_label = torch.tensor(2)
    metric.process(None, [sample])
    assert metric.evaluate(1)['val/accuracy'] == 1


def test_nothing_that_counts_gives_zeros_and_a_warning(capsys):
    scores, _ = evaluate([(-1, 0)])
    assert scores == dict(accuracy=0.0, precision=0.0, recall=0.0, F1=0.0)
    assert 'none of 1 samples has a label' in capsys.readouterr().out


def test_scores_of_random_counts_equal_a_slow_literal_count():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(4, size=(2, 50))
    confusion = np.zeros((4, 4), int)
    for row, column in zip(truth, predicted, strict=True):
        confusion[row, column] += 1
    f1 = []
    for k in range(4):
        tp = ((truth == k) & (predicted == k)).sum()
        fp, fn = ((truth != k) & (predicted == k)).sum(), ((truth == k) & (predicted != k)).sum()
        f1.append(2 * tp / (2 * tp + fp + fn))
    assert macro_scores(confusion)['F1'] == pytest.approx(np.mean(f1))


def test_the_confusion_matrix_is_a_picture_in_the_work_dir(tmp_path):
    _, metric = evaluate([(0, 0), (0, 0), (0, 1), (1, 1), (2, 0)])
    picture = metric.draw()['confusion_matrix']
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert ((picture[..., 2] > picture[..., 0].astype(int) + 60).sum()) > 1000  # blue cells
    assert ActionClassification().draw() == {}

    class Runner:
        work_dir = str(tmp_path)
        val_loop = test_loop = type('Loop', (), dict(evaluator=type('E', (), dict(metrics=[metric, object()]))))

    MetricPicturesHook().after_val_epoch(Runner)
    MetricPicturesHook().after_test_epoch(Runner)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['confusion_matrix.png', 'confusion_matrix_test.png']


def test_the_majority_class_of_training_is_scored_on_validation():
    class Labels(list):
        def get_data_info(self, index):
            return dict(label=self[index])

    assert majority_class(Labels([0, 1, 1, 2]), Labels([1, 1, 0, 2])) == dict(accuracy=0.5)
