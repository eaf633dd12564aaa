import itertools
import random

import numpy as np
import pytest
from mmcv.transforms import BaseTransform

from mmopt.datasets.common import SeededDataset
from mmopt.utils.errors import DataError
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


class Selected(SeededDataset):
    """As many numbers as ``ann_file`` says, of which ``filter_data`` keeps those that ``filter_cfg`` allows."""

    def load_data_list(self):
        return [dict(number=index) for index in range(int(self.ann_file))]

    def filter_data(self):
        return [item for item in self.data_list if item['number'] < (self.filter_cfg or {}).get('below', 99)]


@pytest.mark.parametrize('serialize_data', [True, False])
@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(ann_file='0'), r"Selected has no samples: load_data_list gave none \(ann_file='0'\)"),
        (dict(ann_file='4', filter_cfg=dict(below=0)), r"filter_cfg={'below': 0} keeps none of them \(ann_file='4'\)"),
    ],
)
def test_a_data_set_without_samples_says_what_selected_none(options, text, serialize_data):
    with pytest.raises(DataError, match=text):
        Selected(**options, serialize_data=serialize_data)


def test_a_pipeline_that_gives_none_is_an_error_that_names_the_sample():
    with pytest.raises(DataError, match='the pipeline returned None for sample 2'):
        Numbers(pipeline=[lambda results: None])[2]
