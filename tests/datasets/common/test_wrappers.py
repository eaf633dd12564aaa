import pytest
from torch.utils.data import Dataset

from mmopt.config import lower
from mmopt.datasets.common import SeededDataset
from mmopt.datasets.common.wrappers import ConcatDataset
from mmopt.registry import DATASETS
from mmopt.utils.errors import DataError, UserError
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


_TWO = [dict(type='Drawing'), dict(type='Drawing', num_samples=2, first=7)]
_NESTED = [
    dict(type='RepeatDataset', times=2, dataset=dict(type='Drawing', num_samples=2)),
    dict(type='Drawing', num_samples=1, first=7),
]
WRAPPED = [
    (dict(type='RepeatDataset', times=2, dataset=dict(type='Drawing')), [0, 1, 2, 0, 1, 2]),
    (dict(type='ConcatDataset', datasets=_TWO), [0, 1, 2, 7, 8]),
    (dict(type='RepeatDataset', times=2, dataset=_TWO), [0, 1, 2, 7, 8, 0, 1, 2, 7, 8]),
    (
        dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=_NESTED)),
        [0, 1, 0, 1, 7, 0, 1, 0, 1, 7],
    ),
    (dict(type='RepeatDataset', times=2, dataset=dict(type='RepeatDataset', times=2, dataset=_TWO[1])), [7, 8] * 4),
    (dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=_TWO), [0, 0, 1, 1, 2, 2, 7, 7, 8, 8]),
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


@DATASETS.register_module()
class PlainNumbers(Dataset):
    """As a user of torch writes it: without metainfo and full_init."""

    def __init__(self, length: int = 2) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return int(index)


def test_plain_torch_data_sets_are_wrapped_too():
    cfg = dict(type='RepeatDataset', times=3, dataset=[dict(type='PlainNumbers'), dict(type='PlainNumbers', length=1)])
    dataset = DATASETS.build(cfg)
    assert [dataset[index] for index in range(len(dataset))] == [0, 1, 0] * 3


def test_the_lowered_config_of_nested_wrappers_has_all_samples():
    part = [dict(type='Drawing', num_samples=4), dict(type='Drawing', num_samples=6)]
    cfg = lower(
        dict(
            data=dict(samples_per_gpu=2, train=dict(type='RepeatDataset', times=3, dataset=part)),
            model=dict(type='ToyModel'),
            optimizer=dict(type='SGD', lr=0.1),
            runner=dict(type='IterBasedRunner', max_iters=1),
        )
    )
    assert len(DATASETS.build(cfg['train_dataloader']['dataset'])) == 30


class Unclassified(Drawing):
    get_cat_ids = SeededDataset.get_cat_ids


@pytest.mark.parametrize('wrap', [lambda inside: inside, lambda inside: [Drawing(), inside]])
@pytest.mark.parametrize('lacking', [Unclassified, PlainNumbers])
def test_a_data_set_that_tells_no_classes_cannot_be_balanced_and_is_named(wrap, lacking):
    with pytest.raises(UserError, match=rf'get_cat_ids\(idx\), which {lacking.__name__} lacks: define it there'):
        DATASETS.build(dict(type='ClassBalancedDataset', oversample_thr=0.5, dataset=wrap(lacking())))


@pytest.mark.parametrize('times', [0, -1, 1.5, True, '2'])
def test_times_is_a_positive_whole_number(times):
    with pytest.raises(UserError, match='RepeatDataset: times must be a whole number of at least 1'):
        DATASETS.build(dict(type='RepeatDataset', times=times, dataset=dict(type='Drawing')))


def test_an_empty_data_set_in_a_wrapper_is_named():
    with pytest.raises(DataError, match='ConcatDataset: PlainNumbers in it has no samples'):
        DATASETS.build(dict(type='ConcatDataset', datasets=[PlainNumbers(), PlainNumbers(0)]))


def test_unequal_metainfo_is_refused_with_both_values_and_the_key_that_allows_it():
    class Named(Drawing):
        METAINFO = dict(classes=('a', 'b'))

    with pytest.raises(
        UserError, match=r"metainfo.classes of data set 1 .*Named.* is \('a', 'b'\), .*Drawing.* nothing"
    ):
        DATASETS.build(dict(type='ConcatDataset', datasets=[Named(), Drawing()]))
    made = DATASETS.build(dict(type='ConcatDataset', datasets=[Named(), Drawing()], ignore_keys='classes'))
    assert made.metainfo == dict(classes=('a', 'b'))


def test_a_cache_over_a_plain_data_set_is_refused_with_its_name():
    dataset = DATASETS.build(dict(type='RepeatDataset', times=2, dataset=PlainNumbers()))
    with pytest.raises(UserError, match='PlainNumbers in the RepeatDataset cannot store its samples'):
        dataset.prepare_cache('ram')


def test_what_the_metainfo_tells_of_the_data_may_differ_and_lists_of_it_are_united():
    first, second = Drawing(), Drawing()
    first._metainfo['of_data'] = dict(behaviors=('self,rear', 'pair,sniff'), segment_frames=20)
    second._metainfo['of_data'] = dict(behaviors=('pair,sniff', 'pair,attack'), segment_frames=31)
    together = dict(behaviors=('self,rear', 'pair,sniff', 'pair,attack'), segment_frames=20)
    assert ConcatDataset([first, second]).metainfo['of_data'] == together
    assert ConcatDataset([Drawing(), first]).metainfo['of_data'] == first.metainfo['of_data']
    assert 'of_data' not in ConcatDataset([Drawing(), Drawing()]).metainfo
