"""Samples of one group per global batch, in an order that can be entered anywhere."""

import numpy as np
import pytest

from mmopt.mmcv1.adapt.sampler import MMCV1Sampler


class Flagged:
    flag = np.array([index % 3 == 0 for index in range(11)]).astype(np.uint8)

    def __len__(self) -> int:
        return 11


def take(sampler: MMCV1Sampler, count: int) -> list[int]:
    return [int(index) for index, _ in zip(sampler, range(count), strict=False)]


@pytest.mark.parametrize('endless', [False, True])
def test_the_samples_of_a_batch_share_their_group_and_every_sample_comes(endless):
    sampler = MMCV1Sampler(Flagged(), seed=1, endless=endless, samples_per_gpu=2)
    assert len(sampler) == 12  # 7 and 4 samples, filled up to whole batches
    for _ in range(2):
        order = np.array(take(sampler, 12)).reshape(-1, 2)
        assert (Flagged.flag[order[:, 0]] == Flagged.flag[order[:, 1]]).all()
        assert set(order.flatten()) == set(range(11))


def test_a_resumed_order_goes_on_where_it_was():
    whole = take(MMCV1Sampler(Flagged(), seed=1, endless=True, samples_per_gpu=2), 40)
    resumed = MMCV1Sampler(Flagged(), seed=1, endless=True, samples_per_gpu=2)
    resumed.set_position(14)
    assert take(resumed, 26) == whole[14:]
    assert whole[:12] != whole[12:24]


def test_two_processes_take_the_global_batches_of_one(monkeypatch):
    whole = np.array(take(MMCV1Sampler(Flagged(), seed=1, endless=True, samples_per_gpu=4), 32)).reshape(-1, 4)
    ranks = []
    for rank in range(2):
        monkeypatch.setattr('mmopt.datasets.common.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        ranks.append(take(MMCV1Sampler(Flagged(), seed=1, endless=True, samples_per_gpu=2), 16))
    both = np.stack([np.array(part).reshape(-1, 2) for part in ranks], 2).reshape(-1, 4)
    assert (both == whole).all()


def test_without_groups_it_is_the_plain_order():
    plain = type('Plain', (), {'__len__': lambda self: 5})()
    assert sorted(take(MMCV1Sampler(plain, seed=1, samples_per_gpu=2), 5)) == list(range(5))
    assert take(MMCV1Sampler(Flagged(), shuffle=False, samples_per_gpu=2), 11) == list(range(11))
