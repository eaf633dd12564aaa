import pytest
import torch

from mmopt.models.tad.v6 import find_runs
from tests.models.tad.conftest import ENCODER, build_v6, make_samples


def test_runs_by_hand():
    segments, labels = find_runs(torch.tensor([3, 3, 0, 0, 1, 3, 1]), background=3)
    assert segments.tolist() == [[2, 4], [4, 5], [6, 7]]
    assert labels.tolist() == [0, 1, 1]


def test_only_background_has_no_run():
    assert find_runs(torch.tensor([3, 3]), background=3)[0].shape == (0, 2)


def test_a_frame_of_two_events_belongs_to_the_later_one():
    samples = make_samples([(2, 8, 0, 1, 0), (4, 6, 1, 1, 1)], [], window=10)
    triples, _ = build_v6()._frame_triples(samples, 10)
    assert triples[0, :, 2].tolist() == [3, 3, 0, 0, 1, 1, 0, 0, 3, 3]
    assert triples[0, 4].tolist() == [1, 1, 1]
    assert triples[1, :, 2].tolist() == [3] * 10


def test_counts_by_hand():
    samples = make_samples([(2, 8, 0, 1, 0)], window=10) + make_samples([(0, 3, 0, 0, 1)], num_frames=5)
    assert {k: int(v) for k, v in build_v6().loss_normalizers(samples).items()} == dict(agent=9, target=9, action=15)


def test_smoothing_closes_a_gap_of_one_frame():
    model = build_v6(smooth=3, min_frames=3)
    outputs = dict(action=torch.zeros(1, 20, 4), agent=torch.zeros(1, 20, 4), target=torch.zeros(1, 20, 4))
    outputs['action'][..., 3] = 4.0
    outputs['action'][0, 5:12, 0] = 9.0
    outputs['action'][0, 8, 0] = 0.0
    outputs['agent'][..., 1] = 2.0
    (sample,) = model._predict(outputs, make_samples([], window=20))
    assert sample.pred_segments.tolist() == [[5, 12]]
    assert sample.pred_triples.tolist() == [[1, 0, 0]]


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r'encoder.pool must be 1'):
        build_v6(encoder=ENCODER | dict(pool=2))
    with pytest.raises(ValueError, match='smooth must be odd'):
        build_v6(smooth=4)
