import pytest

from mmopt.datasets.common import SeededDataset
from mmopt.registry import DATASETS
from mmopt.utils.seeding import SampleIndex


@DATASETS.register_module()
class Drawing(SeededDataset):
    """Each sample is (its number, one drawn float)."""

    def __init__(self, num_samples: int = 3, first: int = 0) -> None:
        self.num_samples = num_samples
        self.first = first
        super().__init__(pipeline=[lambda results: (results['number'], results['rng'].random())])

    def load_data_list(self) -> list[dict]:
        return [dict(number=self.first + i) for i in range(self.num_samples)]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [0 if idx == 0 else 1]


def samples(cfg: dict, epoch: int = 0, seed: int = 0) -> list[tuple[int, float]]:
    dataset = DATASETS.build(cfg)
    return [dataset[SampleIndex(i, seed, epoch)] for i in range(len(dataset))]


WRAPPED = [
    (dict(type='RepeatDataset', times=2, dataset=dict(type='Drawing')), [0, 1, 2, 0, 1, 2]),
    (
        dict(type='ConcatDataset', datasets=[dict(type='Drawing'), dict(type='Drawing', num_samples=2, first=7)]),
        [0, 1, 2, 7, 8],
    ),
    # Class 0 occurs in one of three samples: repeated ceil(sqrt(0.9 / (1/3))) = 2 times; class 1 sqrt(0.9 / (2/3)): 2.
    (dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=dict(type='Drawing')), [0, 0, 1, 1, 2, 2]),
]


@pytest.mark.parametrize(('cfg', 'numbers'), WRAPPED)
def test_samples_come_in_order_and_copies_draw_differently(cfg, numbers):
    drawn = samples(cfg)
    assert [number for number, _ in drawn] == numbers
    assert len({value for _, value in drawn}) == len(drawn)


@pytest.mark.parametrize(('cfg', 'numbers'), WRAPPED)
def test_every_epoch_and_seed_draws_anew_and_repeatably(cfg, numbers):
    assert samples(cfg, epoch=1) == samples(cfg, epoch=1)
    values = [value for run in (samples(cfg), samples(cfg, epoch=1), samples(cfg, seed=5)) for _, value in run]
    assert len(set(values)) == 3 * len(numbers)


def test_a_plain_index_is_epoch_zero():
    dataset = DATASETS.build(WRAPPED[0][0])
    assert dataset[4] == dataset[SampleIndex(4)]
