import itertools
import random

import numpy as np
import pytest
from mmcv.transforms import BaseTransform

from mmopt.datasets.common import SeededDataset
from mmopt.utils.seeding import SampleIndex


class ForeignNoise(BaseTransform):
    """Draws from the global generators, as mmcv's transforms do."""

    def transform(self, results):
        return dict(draws=(random.random(), np.random.rand()), own=results['rng'].random())


class Numbers(SeededDataset):
    def load_data_list(self):
        return [dict(number=index) for index in range(4)]


@pytest.fixture
def dataset():
    return Numbers(pipeline=[ForeignNoise()])


def test_what_a_foreign_transform_draws_depends_on_the_sample_and_not_on_what_came_before(dataset):
    def draws() -> list[tuple]:
        places = itertools.product((0, 1), repeat=3)
        return [dataset[SampleIndex(index, seed, epoch)]['draws'] for index, seed, epoch in places]

    first = draws()
    np.random.rand(5)
    assert draws() == first
    assert len(set(first)) == len(first)


def test_a_foreign_transform_leaves_the_global_generators_and_the_sample_stream_as_they_were(dataset):
    np.random.seed(3)
    random.seed(3)
    want = (np.random.rand(), random.random())
    np.random.seed(3)
    random.seed(3)
    own = dataset[SampleIndex(2, 7)]['own']
    assert (np.random.rand(), random.random()) == want
    assert own == Numbers(pipeline=[lambda results: dict(own=results['rng'].random())])[SampleIndex(2, 7)]['own']
