import pickle
import random

import numpy as np
import torch

from mmopt.utils.seeding import SampleIndex, generators_aside, global_generators_of, sample_rng, seed_globals


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


def _draws():
    return np.random.randint(1 << 31), random.getrandbits(31), torch.randint(1 << 31, ()).item()


def test_global_generators_of_neighboring_samples_draw_unlike_numbers_and_repeat_them():
    draws = {}
    with generators_aside():
        for key in [(s, e, i) for s in (0, 1, -1, 1 << 63) for e in range(4) for i in range(8)]:
            seed_globals(SampleIndex(key[2], key[0], key[1]))
            draws[key] = _draws()
        seed_globals(SampleIndex(7, 1, 3))
        assert _draws() == draws[1, 3, 7]
    values = [value for drawn in draws.values() for value in drawn]
    assert len(set(values)) == len(values)


def test_numpy_and_torch_are_not_seeded_alike():
    """Both are Mersenne twisters: of one seed they give the same bits."""
    with generators_aside():
        for index in range(20):
            seed_globals(SampleIndex(index))
            assert np.random.get_state()[1][0] != torch.initial_seed() & 0xFFFFFFFF


def test_what_is_drawn_aside_leaves_the_global_generators_alone():
    with generators_aside():
        seed_globals(SampleIndex(3))
        np.random.seed(5), random.seed(5), torch.manual_seed(5)
        wanted = _draws()
        np.random.seed(5), random.seed(5), torch.manual_seed(5)
        with generators_aside():
            seed_globals(SampleIndex(4))
            np.random.randn(), _draws()
        assert _draws() == wanted
