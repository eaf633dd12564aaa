"""What a data set or a sampler does wrong is said, and plain torch data sets draw new numbers in every epoch."""

import random
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from torch.utils.data import Dataset, IterableDataset, Sampler, default_convert

from mmopt.engine.loading.build import build_dataloader
from mmopt.registry import DATA_SAMPLERS, DATASETS
from mmopt.utils.errors import DataError, UserError

WORKERS = [
    dict(num_workers=0),
    dict(num_workers=2, persistent_workers=False),
    dict(num_workers=2, persistent_workers=True),
]
PLAIN = dict(type='PlainSampler')


@DATASETS.register_module()
class PlainDraws(Dataset):
    """A data set as a user of torch writes it: draws from the three global generators."""

    metainfo: dict = {}

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple:
        return index, random.random(), np.random.rand(), float(torch.rand(()))


@DATASETS.register_module()
class Faulty(Dataset):
    """Sample 5 does what ``fault`` says."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict | None:
        image = torch.zeros(3, 4)
        if index != 5:
            return dict(image=image, label=index)
        if self.fault == 'stop':
            return next(iter(()))
        if self.fault == 'exit':
            raise SystemExit(3)
        if self.fault == 'none':
            return None
        return dict(shape=dict(image=image[:2], label=5), keys=dict(image=image), more=dict(image=image, label=5, x=1))[
            self.fault
        ]


@DATASETS.register_module()
class Stream(IterableDataset):
    def __iter__(self):
        return (np.random.rand() for _ in range(4))

    def __len__(self) -> int:
        return 8  # of two workers


@DATASETS.register_module()
class EndlessStream(IterableDataset):
    def __iter__(self):
        return iter(range(4))


@DATASETS.register_module()
class Empty(Faulty):
    def __len__(self) -> int:
        return 0


@DATA_SAMPLERS.register_module()
class PlainSampler(Sampler):
    """A sampler of another library: knows neither seeds nor epochs."""

    def __init__(self, dataset, seed=None, indices=None) -> None:
        self.indices = range(len(dataset)) if indices is None else indices

    def __iter__(self):
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


@DATA_SAMPLERS.register_module()
class Unmeasured(Sampler):
    def __init__(self, dataset, seed=None) -> None:
        pass

    def __iter__(self):
        return iter(range(4))


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmopt'):
        yield


def loader(dataset, seed: int = 3, sampler=PLAIN, **changes):
    if isinstance(dataset, str):
        dataset = dict(type=dataset)
    cfg = dict(dataset=dataset, sampler=sampler, batch_size=4, collate_fn=dict(type='default_collate'))
    return build_dataloader(cfg | changes, seed)


def read(made, epochs: int = 1) -> list:
    """Return the batches, and end the workers: left to the garbage collector they take seconds."""
    batches: list = []
    try:
        for _ in range(epochs):
            iterator = iter(made)
            batches += iterator
    finally:
        if made.num_workers:
            iterator._shutdown_workers()
    return batches


def samples_of(batches: list) -> list[tuple]:
    return [sample for batch in batches for sample in zip(*(part.tolist() for part in batch), strict=True)]


def draws(workers: dict, epochs: int = 3, **changes) -> list[tuple]:
    return samples_of(read(loader('PlainDraws', **workers, **changes), epochs))


@pytest.mark.parametrize('workers', WORKERS)
def test_a_plain_data_set_draws_other_numbers_for_each_sample_and_epoch(workers):
    drawn = draws(workers)
    for generator in (1, 2, 3):
        assert len({sample[generator] for sample in drawn}) == 36


def test_what_a_plain_data_set_draws_depends_neither_on_workers_nor_on_other_drawing():
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = draws(WORKERS[0])
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]
    assert random.getstate() == state[2]
    assert draws(WORKERS[1]) == draws(WORKERS[2]) == first
    assert draws(WORKERS[0], seed=4) != first


def test_a_sample_that_comes_twice_in_an_epoch_draws_twice():
    drawn = draws(WORKERS[0], epochs=1, sampler=dict(PLAIN, indices=[1, 1, 1, 2]))
    assert len({sample[1] for sample in drawn}) == 4


def test_an_epoch_of_a_plain_data_set_is_the_same_after_a_resume():
    sampler = dict(type='ResumableSampler')
    one, two = (loader('PlainDraws', sampler=sampler) for _ in range(2))
    read(one)
    for made in (one, two):
        made.sampler.set_epoch(1)
    assert samples_of(read(one)) == samples_of(read(two))


@pytest.mark.parametrize('workers', WORKERS[1:])
def test_iterable_data_sets_draw_other_numbers_in_each_worker_and_epoch(workers):
    made = loader('Stream', sampler=None, batch_size=2, **workers)
    assert len({value for batch in read(made, epochs=3) for value in batch.tolist()}) == 24


class Mix(Dataset):
    """A wrapper of a user's that draws itself."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> float:
        return np.random.rand()


def test_a_wrapper_of_the_users_draws_for_each_sample_too():
    from tests.engine.toy import ToyDataset

    values = [float(value) for batch in read(loader(Mix(ToyDataset(length=12))), 2) for value in batch]
    assert len(set(values)) == 24
    assert values == [float(v) for b in read(loader(Mix(ToyDataset(length=12)), num_workers=2), 2) for v in b]


@pytest.mark.parametrize('workers', WORKERS[:2])
def test_samples_come_one_by_one_without_a_batch_size(workers):
    samples = read(loader('PlainDraws', batch_size=None, collate_fn=dict(type=default_convert), **workers), 2)
    assert [sample[0] for sample in samples] == 2 * list(range(12))
    assert len({sample[1] for sample in samples}) == 24


def test_what_users_look_at_is_their_own():
    dataset = PlainDraws()
    made = loader(dataset)
    next(iter(made))
    assert made.dataset is dataset
    assert type(made.sampler) is PlainSampler
    assert made.collate_fn.func.__module__ == 'mmengine.dataset.utils'


@pytest.mark.parametrize('workers', WORKERS[:2])
@pytest.mark.parametrize(
    ('fault', 'text'),
    [
        (
            'stop',
            r'Faulty\[5\] raised StopIteration \(.*test_guarded.py:\d+, .*__getitem__\), which would end the epoch',
        ),
        ('exit', r'Faulty\[5\] raised SystemExit'),
        ('none', r'Faulty\[5\] is None: every index must give a sample'),
        ('shape', r'Samples 1 and 2 of a batch differ in image: shape \(3, 4\) and shape \(2, 4\)'),
        ('keys', r"Samples 1 and 2 of a batch differ: keys \['image', 'label'\] and keys \['image'\]"),
    ],
)
def test_a_faulty_sample_is_an_error_that_names_it(workers, fault, text):
    with pytest.raises(DataError, match=text) as caught:
        read(loader(dict(type='Faulty', fault=fault), **workers))
    assert 'Traceback' not in str(caught.value)


@pytest.mark.parametrize('collate', ['stack_collate', 'default_collate', 'pseudo_collate'])
def test_a_key_that_only_some_samples_of_a_batch_have_is_not_dropped_in_silence(collate):
    with pytest.raises(DataError, match=r"keys \['image', 'label'\] and keys \['image', 'label', 'x'\]"):
        read(loader(dict(type='Faulty', fault='more'), collate_fn=dict(type=collate)))


def test_a_data_set_without_samples_is_refused():
    with pytest.raises(UserError, match='Empty has no samples'):
        loader(dict(type='Empty', fault='none'))


def test_a_sampler_without_a_length_is_named_with_the_remedy():
    with pytest.raises(UserError, match='Unmeasured has no __len__.*number of indices'):
        loader('PlainDraws', sampler=dict(type='Unmeasured'))


def test_a_data_set_without_a_length_is_named_with_the_remedy():
    with pytest.raises(UserError, match='EndlessStream has no __len__.*number of samples in an epoch'):
        loader('EndlessStream', sampler=None)


def test_interrupting_the_loop_is_no_error_of_the_data_set():
    made = loader('PlainDraws')
    assert len(list(islice(made, 2))) == 2
