import pickle
import random

import numpy as np
import torch

from mmopt.utils.seeding import SampleIndex, global_generators_of, sample_rng


def test_the_stream_depends_on_seed_epoch_and_index_alone():
    draws = {
        (seed, epoch, index): sample_rng(SampleIndex(index, seed, epoch)).random()
        for seed in range(3)
        for epoch in range(3)
        for index in range(3)
    }
    assert len(set(draws.values())) == len(draws)
    assert all(sample_rng(SampleIndex(i, s, e)).random() == draw for (s, e, i), draw in draws.items())


def test_an_index_keeps_seed_and_epoch_on_its_way_to_a_worker():
    index = pickle.loads(pickle.dumps(SampleIndex(7, seed=11, epoch=13)))
    assert (index, index.seed, index.epoch) == (7, 11, 13)


def test_a_plain_int_counts_as_seed_0_epoch_0():
    assert sample_rng(5).random() == sample_rng(SampleIndex(5, 0, 0)).random()


def test_generators_of_one_sample_inside_of_another_leave_all_as_it_was():
    """A data set that calls another one, whose sample draws as well."""
    wanted = []
    for _ in range(2):
        np.random.seed(7)
        random.seed(7)
        torch.manual_seed(7)
        wanted = wanted or [np.random.rand(), random.random(), torch.rand(1).item()]
    with global_generators_of(SampleIndex(1)):
        first = np.random.rand(3)
    with global_generators_of(SampleIndex(1)):
        again = [np.random.rand()]
        with global_generators_of(SampleIndex(2)):
            inner = np.random.rand(3)
        again += np.random.rand(2).tolist()
    assert again == first.tolist()
    assert not set(again) & set(inner.tolist())
    assert [np.random.rand(), random.random(), torch.rand(1).item()] == wanted
