from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmopt.evaluation import DatasetEvaluateMetric
from mmopt.evaluation import dataset_evaluate as module
from mmopt.structures import DataSample
from mmopt.utils.errors import UserError


class Dataset:
    def evaluate(self, results, logger, **arguments):
        self.seen = SimpleNamespace(results=results, logger=logger, arguments=arguments)
        return dict(score=torch.tensor(0.5).item(), num=len(results), table='text')


def test_the_data_set_gets_all_results_and_the_other_keys():
    metric = DatasetEvaluateMetric(metric='mIoU', classwise=True)
    metric.dataset = Dataset()
    for index in range(3):
        sample = DataSample(metainfo=dict(sample_idx=index))
        sample.pred = torch.tensor(index)
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(3) == dict(score=0.5, num=3.0)
    assert [result['sample_idx'] for result in metric.dataset.seen.results] == [0, 1, 2]
    assert metric.dataset.seen.arguments == dict(metric='mIoU', classwise=True)
    assert metric.dataset.seen.logger is not None


def test_a_second_evaluation_starts_empty():
    metric = DatasetEvaluateMetric()
    metric.dataset = Dataset()
    metric.process({}, [1, 2])
    metric.evaluate(2)
    metric.process({}, [3])
    metric.evaluate(1)
    assert metric.dataset.seen.results == [3]


def test_the_results_of_several_ranks_are_put_in_order(monkeypatch):
    monkeypatch.setattr(module, 'all_gather_object', lambda results: [[0, 3, 6], [1, 4], [2, 5]])
    metric = DatasetEvaluateMetric()
    metric.dataset = Dataset()
    metric.evaluate(7)
    assert metric.dataset.seen.results == list(range(7))


def test_a_data_set_that_cannot_evaluate_is_named():
    metric = DatasetEvaluateMetric(metric='mIoU')
    with pytest.raises(ValueError, match="evaluation.metric='mIoU' is for data sets with an evaluate.*list lacks"):
        metric.dataset = []


def test_an_array_of_one_counts_and_a_data_set_that_gives_no_dict_is_named():
    class Odd(Dataset):
        given = dict(mIoU=np.array([0.5]), per_class=np.array([0.5, 0.7]))

        def evaluate(self, results, logger, **arguments):
            return self.given

    metric = DatasetEvaluateMetric()
    metric.dataset = Odd()
    assert metric.evaluate(0) == dict(mIoU=0.5)
    Odd.given = None
    with pytest.raises(UserError, match='Odd.evaluate gave None: it must return a dict of numbers'):
        metric.evaluate(0)
