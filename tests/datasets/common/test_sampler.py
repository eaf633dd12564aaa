from itertools import islice

import pytest

from mmopt.datasets.common import EvaluationSampler, ResumableSampler


def take(sampler, count: int) -> list[tuple[int, int]]:
    return [(int(index), index.epoch) for index in islice(sampler, count)]


def rank_of(sampler, rank: int, world_size: int):
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def test_each_epoch_is_another_permutation():
    drawn = take(ResumableSampler(range(10), seed=3, endless=True), 20)
    first, second = [i for i, _ in drawn[:10]], [i for i, _ in drawn[10:]]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert [epoch for _, epoch in drawn] == [0] * 10 + [1] * 10


@pytest.mark.parametrize('position', [0, 3, 10, 27])
def test_any_position_continues_the_stream_without_replay(position):
    whole = take(ResumableSampler(range(10), seed=3, endless=True), 40)
    resumed = ResumableSampler(range(10), seed=3, endless=True)
    resumed.set_position(position)
    assert take(resumed, 13) == whole[position : position + 13]


@pytest.mark.parametrize('world_size', [1, 2, 4])
def test_the_global_stream_does_not_depend_on_the_number_of_ranks(world_size):
    stream = take(ResumableSampler(range(10), seed=3, endless=True), 24)
    per_rank = [
        take(rank_of(ResumableSampler(range(10), seed=3, endless=True), r, world_size), 24 // world_size)
        for r in range(world_size)
    ]
    assert [pair for step in zip(*per_rank, strict=True) for pair in step] == stream


def test_an_epoch_ends_and_gives_every_rank_the_same_count():
    ranks = [rank_of(ResumableSampler(range(5), shuffle=False), r, 2) for r in range(2)]
    assert [[i for i, _ in take(s, 99)] for s in ranks] == [[0, 2, 4], [1, 3, 0]]
    assert [len(s) for s in ranks] == [3, 3]


def test_an_epoch_resumes_in_its_middle_and_the_next_begins_at_its_start():
    sampler = ResumableSampler(range(6), seed=1)
    sampler.set_epoch(1)
    whole = take(sampler, 99)
    sampler.set_position(6 + 4)
    assert take(sampler, 99) == whole[4:]
    sampler.set_epoch(1)
    assert take(sampler, 99) == whole


def test_evaluation_sees_every_sample_once():
    ranks = [rank_of(EvaluationSampler(range(7)), r, 3) for r in range(3)]
    assert sorted(i for s in ranks for i, _ in take(s, 99)) == list(range(7))


def test_an_empty_data_set_names_the_remedy():
    with pytest.raises(ValueError, match='no samples: check its data_root'):
        ResumableSampler([])
