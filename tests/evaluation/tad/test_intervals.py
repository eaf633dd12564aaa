import math

import numpy as np
import pytest

from mmopt.evaluation.tad.intervals import average_precision, count_matches, f1, match_intervals


def rows(*events) -> np.ndarray:
    return np.array(events, dtype=np.float64).reshape(-1, 5)


def test_the_better_prediction_takes_the_truth():
    predicted = rows((0, 10, 0, 1, 0), (0, 9, 0, 1, 0))
    right, found = match_intervals(predicted, np.array([0.6, 0.9]), rows((0, 10, 0, 1, 0)), 0.5)
    assert right.tolist() == [False, True]
    assert found.tolist() == [True]


def test_a_prediction_takes_what_it_overlaps_most_among_what_is_left():
    truth = rows((0, 10, 0, 1, 0), (4, 14, 0, 1, 0))
    predicted = rows((1, 11, 0, 1, 0), (0, 10, 0, 1, 0))
    right, found = match_intervals(predicted, np.array([0.5, 0.9]), truth, 0.5)
    assert right.tolist() == [True, True]
    assert found.tolist() == [True, True]


@pytest.mark.parametrize('wrong', [(0, 10, 1, 1, 0), (0, 10, 0, 0, 0), (0, 10, 0, 1, 1), (0, 4, 0, 1, 0)])
def test_agent_target_action_and_overlap_must_all_hold(wrong):
    right, _ = match_intervals(rows(wrong), np.ones(1), rows((0, 10, 0, 1, 0)), 0.5)
    assert not right.any()


def test_an_overlap_of_exactly_one_half_is_right():
    assert match_intervals(rows((0, 5, 0, 1, 0)), np.ones(1), rows((0, 10, 0, 1, 0)), 0.5)[0].all()


def test_counts_and_f1_by_hand():
    predicted = rows((0, 10, 0, 1, 0), (50, 60, 0, 1, 0), (0, 10, 0, 1, 1))
    truth = rows((0, 10, 0, 1, 0), (20, 30, 0, 1, 0), (80, 90, 0, 1, 1), (80, 90, 1, 0, 1))
    counts = count_matches(predicted, np.ones(3), truth, 0.5, 3)
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [1, 2, 0]]
    np.testing.assert_allclose(f1(counts), [0.5, 0, 0])


def test_average_precision_by_hand():
    # Precision 1, 1/2, 2/3 at the ranks; the envelope at the third is 2/3.
    assert average_precision([True, False, True], [0.9, 0.8, 0.7], 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([True], [0.9], 4) == pytest.approx(0.25)
    assert average_precision([], [], 3) == 0
    assert math.isnan(average_precision([False], [0.5], 0))
