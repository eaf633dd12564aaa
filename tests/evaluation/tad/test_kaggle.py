"""Hand-computed cases of the competition's score, its fine print included."""

import numpy as np
import pytest

from mmopt.evaluation.tad.kaggle import (
    Event,
    kaggle_score,
    read_submission,
    resolve_overlaps,
    to_events,
    write_submission,
)
from mmopt.utils.errors import DataError

PAIR = ('mouse1', 'mouse2')
LABELED = {'mouse1,mouse2,attack', 'mouse1,mouse2,sniff', 'mouse1,mouse3,attack', 'mouse2,self,rear'}


def event(action, start, stop, video='1', pair=PAIR) -> Event:
    return Event(video, *pair, action, start, stop)


def score(solution, submission, labeled=None, labs=None) -> float:
    videos = {e.video_id for e in solution} | {e.video_id for e in submission}
    labeled = dict.fromkeys(videos, LABELED) | (labeled or {})
    return kaggle_score(solution, submission, labeled, dict.fromkeys(videos, 'lab') | (labs or {}))


def test_the_truth_itself_scores_1():
    truth = [event('attack', 0, 10), event('sniff', 20, 30)]
    assert score(truth, truth) == 1


def test_half_the_frames():
    # tp 5, fp 5, fn 5
    assert score([event('attack', 0, 10)], [event('attack', 5, 15)]) == pytest.approx(0.5)


def test_frames_are_sets():
    # 0-10 and 5-15 are 15 frames; 10-20 is predicted: tp 5, fp 5, fn 10
    truth = [event('attack', 0, 10), event('attack', 5, 15)]
    assert score(truth, [event('attack', 10, 20)]) == pytest.approx(10 / 25)


def test_pairs_are_pooled_but_not_confused():
    truth = [event('attack', 0, 10), event('attack', 0, 10, pair=('mouse1', 'mouse3'))]
    assert score(truth, [event('attack', 0, 10)]) == pytest.approx(20 / 30)


def test_actions_are_averaged_within_a_laboratory_and_laboratories_at_last():
    truth = [event('attack', 0, 10), event('sniff', 20, 30), event('attack', 0, 10, video='2')]
    predicted = [event('attack', 0, 10), event('attack', 0, 10, video='2')]
    labs = {'1': 'A', '2': 'B'}
    assert score(truth, predicted, labs=labs) == pytest.approx((1 / 2 + 1) / 2)


def test_videos_of_a_laboratory_are_pooled_before_the_f1():
    # tp 10 of 10 and 0 of 30: F1 of the pool 20 / 50, not the mean 0.5 of the videos
    truth = [event('attack', 0, 10), event('attack', 0, 30, video='2')]
    assert score(truth, [event('attack', 0, 10)]) == pytest.approx(20 / 50)


def test_what_is_not_labeled_in_the_video_is_skipped():
    truth = [event('attack', 0, 10)]
    predicted = [event('attack', 0, 10), event('chase', 0, 10), event('attack', 0, 99, pair=('mouse3', 'mouse1'))]
    assert score(truth, predicted) == 1


def test_an_action_that_is_predicted_but_never_true_counts_as_0_in_the_mean():
    truth = [event('attack', 0, 10)]
    assert score(truth, [event('attack', 0, 10), event('sniff', 20, 30)]) == pytest.approx(0.5)


def test_a_video_without_truth_does_not_exist():
    truth = [event('attack', 0, 10)]
    assert score(truth, [event('attack', 0, 10), event('attack', 0, 10, video='empty')]) == 1


def test_nothing_predicted_scores_0():
    assert score([event('attack', 0, 10)], []) == 0


def test_two_actions_on_one_frame_of_a_pair_are_an_error():
    truth = [event('attack', 0, 10)]
    predicted = [event('attack', 0, 10), event('sniff', 9, 12)]
    message = 'Video 1: multiple predictions for the same frame from one agent/target pair: frame 9, mouse1 and mouse2'
    with pytest.raises(DataError, match=message):
        score(truth, predicted)


def test_the_same_action_twice_on_a_frame_is_none():
    assert score([event('attack', 0, 10)], [event('attack', 0, 8), event('attack', 5, 10)]) == 1


def test_one_agent_may_act_on_two_targets_at_once():
    truth = [event('attack', 0, 10), event('sniff', 0, 10, pair=('mouse1', 'mouse3'))]
    labeled = {'1': LABELED | {'mouse1,mouse3,sniff'}}
    assert score(truth, truth, labeled) == 1


def test_a_clash_with_an_unlabeled_action_is_none():
    assert score([event('attack', 0, 10)], [event('chase', 0, 10), event('attack', 0, 10)]) == 1


def test_an_interval_that_runs_backwards_and_an_empty_solution_are_errors():
    with pytest.raises(DataError, match='start_frame 10 > stop_frame 5'):
        score([event('attack', 0, 10)], [event('attack', 10, 5)])
    with pytest.raises(DataError, match='The solution has no event'):
        score([], [event('attack', 0, 10)])


def test_the_better_prediction_keeps_the_frames():
    rows = np.array([(0, 20, 0, 1, 0), (5, 10, 0, 1, 1), (5, 10, 0, 2, 0), (15, 30, 0, 1, 0)])
    resolved = resolve_overlaps(rows, np.array([0.5, 0.9, 0.1, 0.2]))
    assert resolved.tolist() == [[0, 5, 0, 1, 0], [5, 10, 0, 1, 1], [10, 30, 0, 1, 0], [5, 10, 0, 2, 0]]


def test_resolved_predictions_never_clash():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 200, 60)
    columns = (
        start,
        start + rng.integers(1, 60, 60),
        rng.integers(0, 2, 60),
        rng.integers(0, 2, 60),
        rng.integers(0, 3, 60),
    )
    resolved = resolve_overlaps(np.stack(columns, axis=1), rng.random(60))
    names = ['attack', 'sniff', 'rear']
    events = to_events('1', resolved, names)
    everything = {e.behavior for e in events}
    assert score(events, events, {'1': everything}) == 1


def test_a_submission_survives_the_file(tmp_path):
    events = to_events('7', np.array([(0, 5, 0, 1, 0), (3, 9, 1, 1, 1), (0, 2, -1, -1, 0)]), ['attack', 'rear'])
    write_submission(tmp_path / 'submission.csv', events)
    lines = (tmp_path / 'submission.csv').read_text().splitlines()
    assert lines[0] == 'row_id,video_id,agent_id,target_id,action,start_frame,stop_frame'
    assert lines[1:] == ['0,7,mouse1,mouse2,attack,0,5', '1,7,mouse2,self,rear,3,9', '2,7,all,all,attack,0,2']
    assert read_submission(tmp_path / 'submission.csv') == events


def test_the_competitions_sample_submission_is_read(shared_dir):
    events = read_submission(shared_dir / 'data' / 'mabe_metadata' / 'sample_submission.csv')
    assert events == [Event('438887472', 'mouse1', 'mouse2', 'sniff', 0, 1)]


def test_a_broken_submission_names_file_and_line(tmp_path):
    path = tmp_path / 's.csv'
    path.write_text('video_id,agent_id,target_id,action,start_frame,stop_frame\n1,a,b,c,0,x\n')
    with pytest.raises(DataError, match=r's.csv:2: start_frame and stop_frame must be whole numbers'):
        read_submission(path)
    path.write_text('video_id,agent_id\n')
    with pytest.raises(DataError, match='missing column.s. target_id, action, start_frame, stop_frame'):
        read_submission(path)
