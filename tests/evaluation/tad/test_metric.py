import numpy as np
import pytest
import torch

from mmopt.evaluation import TemporalDetection
from mmopt.evaluation.tad.metric import merge_windows
from mmopt.structures import DataSample

CLASSES = ('attack', 'rear')


def sample(window, predicted, truth, video='1', num_frames=300) -> DataSample:
    """``predicted``: start and stop in frames of the video, triple, score."""
    made = DataSample(metainfo=dict(video_id=video, lab_id='A', num_frames=num_frames, fps=30.0, window=window))
    made.truth = torch.tensor(truth).view(-1, 5)
    made.labeled = torch.tensor([[0, 1, 0], [1, 1, 1]])
    made.pred_segments = torch.tensor([row[:2] for row in predicted], dtype=torch.float32).view(-1, 2) - window[0]
    made.pred_triples = torch.tensor([row[2] for row in predicted], dtype=torch.int64).view(-1, 3)
    made.pred_scores = torch.tensor([row[3] for row in predicted])
    return made


def evaluate(samples, **options) -> dict[str, float]:
    metric = TemporalDetection(**options)
    metric.dataset_meta = dict(classes=CLASSES)
    for one in samples:
        metric.process(None, [one.to_dict()])  # MMEngine's evaluator hands dicts
    return metric.evaluate(len(samples))


ATTACK, REAR = (0, 1, 0), (1, 1, 1)
TRUTH = [(20, 40, *ATTACK), (90, 180, *REAR)]


def test_windows_become_one_video():
    """An event in two windows, one cut by the border between them, and one that both windows see whole."""
    first = sample((0, 120), [(20, 40, ATTACK, 0.9), (90, 120, REAR, 0.95)], TRUTH)
    second = sample((80, 200), [(91, 178, REAR, 0.8)], TRUTH[1:])
    metrics = evaluate([first, second])
    assert metrics['F1'] == metrics['mAP'] == metrics['recall'] == 1
    assert metrics['frame_F1.attack'] == 1
    assert metrics['frame_F1.rear'] == pytest.approx(2 * 88 / (2 * 88 + 2))
    assert metrics['kaggle_F'] == pytest.approx((1 + metrics['frame_F1.rear']) / 2)


def test_weak_predictions_count_for_precision_over_recall_only():
    metrics = evaluate([sample((0, 200), [(20, 40, ATTACK, 0.4), (90, 180, REAR, 0.9)], TRUTH)])
    assert metrics['F1'] == pytest.approx(2 / 3)
    assert metrics['F1.attack'] == 0
    assert metrics['mAP'] == 1


def test_overlaps_decide_by_threshold():
    metrics = evaluate([sample((0, 200), [(20, 32, ATTACK, 0.9)], TRUTH[:1])])  # IoU 0.6
    assert [metrics[f'mAP.tIoU{t}'] for t in (30, 40, 50, 60, 70)] == [1, 1, 1, 1, 0]


def test_videos_are_pooled():
    metrics = evaluate([sample((0, 200), [], TRUTH), sample((0, 200), [(20, 40, ATTACK, 1.0)], TRUTH[:1], '2')])
    assert metrics['F1'] == pytest.approx(2 * 1 / (2 * 1 + 2))


def test_an_evaluation_starts_anew():
    metric = TemporalDetection()
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, [sample((0, 200), [(20, 40, ATTACK, 0.9)], TRUTH)])
    metric.evaluate(1)
    metric.process(None, [sample((0, 200), [(20, 40, ATTACK, 0.9)], TRUTH[:1])])
    assert metric.evaluate(1)['F1'] == 1


def test_predictions_of_nothing_score_0_and_write_an_empty_submission(tmp_path):
    metrics = evaluate([sample((0, 200), [], TRUTH)], out_dir=str(tmp_path))
    assert metrics['F1'] == metrics['mAP'] == metrics['kaggle_F'] == 0
    assert len((tmp_path / 'submission.csv').read_text().splitlines()) == 1


def test_a_submission_and_a_timeline_of_the_whole_video_are_written(tmp_path):
    first = sample((0, 120), [(20, 40, ATTACK, 0.9), (90, 120, REAR, 0.95)], TRUTH)
    second = sample((80, 200), [(91, 178, REAR, 0.8)], TRUTH[1:])
    evaluate([first, second], out_dir=str(tmp_path))
    assert (tmp_path / 'submission.csv').read_text().splitlines()[1:] == [
        '0,1,mouse1,mouse2,attack,20,40',
        '1,1,mouse2,self,rear,90,178',
    ]
    assert (tmp_path / 'timeline_1.png').stat().st_size > 1000


def test_no_sample_is_an_error():
    with pytest.raises(ValueError, match='saw no sample of 0: is the data set in test mode'):
        evaluate([])


def test_merging_gives_whole_frames_of_at_least_one():
    rows, _ = merge_windows(np.array([[3.6, 3.7, 0, 1, 0]]), np.ones(1), np.array([[0, 100]]), 0.3, 4)
    assert rows.tolist() == [[4, 5, 0, 1, 0]]


def test_videos_of_two_laboratories_with_one_number_stay_apart(tmp_path):
    """Each laboratory's prediction is right for the other alone."""
    first = sample((0, 200), [(90, 180, REAR, 0.9)], TRUTH[:1])
    second = sample((0, 200), [(20, 40, ATTACK, 0.9)], TRUTH[1:])
    second.set_metainfo(dict(lab_id='B'))
    assert evaluate([first, second], out_dir=str(tmp_path))['F1'] == 0
    rows = (tmp_path / 'submission.csv').read_text().splitlines()[1:]
    assert [row.split(',')[1] for row in rows] == ['A/1', 'B/1']
    assert sorted(path.name for path in tmp_path.glob('*.png')) == ['timeline_A_1.png', 'timeline_B_1.png']
