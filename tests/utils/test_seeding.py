import pickle

from mmopt.utils.seeding import SampleIndex, sample_rng


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
