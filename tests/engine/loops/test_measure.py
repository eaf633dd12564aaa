"""What metrics may give: numbers under any guise; anything else is named."""

import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from mmopt.engine.loops.measure import check_predictions, measure, score_of
from mmopt.registry import METRICS, RUNNERS
from mmopt.utils.errors import UserError
from tests.engine.toy import ToyError, toy_config


@METRICS.register_module()
class GivenMetric(ToyError):
    """Gives what it is told."""

    def __init__(self, given=None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.given = given

    def compute_metrics(self, results):
        return self.given


def measured(*metrics) -> tuple[dict, list[str]]:
    warnings: list[str] = []
    for metric in metrics:
        metric.results = [0.0] * 4
    return measure(Evaluator(list(metrics)), 4, warnings.append), warnings


ONES = [0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]]), torch.tensor(0.5), torch.tensor([0.5])]


@pytest.mark.parametrize('value', ONES)
def test_an_array_of_one_is_a_number(value):
    metrics, warnings = measured(GivenMetric(dict(acc=value)))
    assert metrics == dict(acc=0.5)
    assert type(metrics['acc']) is float
    assert warnings == []


@pytest.mark.parametrize('value', [np.array([0.5, 0.7]), torch.tensor([0.5, 0.7]), [0.5], 'good', None])
def test_what_is_no_number_may_be_measured_but_decides_nothing(value):
    metrics, _ = measured(GivenMetric(dict(acc=value)))
    assert metrics['acc'] is value
    with pytest.raises(UserError, match="evaluation.save_best='acc': its value is no single number but"):
        score_of(metrics, 'acc', "evaluation.save_best='acc'")


@pytest.mark.parametrize(('given', 'prefix'), [(None, None), (None, 'mine'), ([0.5], None), (0.5, 'mine')])
def test_a_metric_that_gives_no_dict_is_named(given, prefix):
    with pytest.raises(UserError, match=r'GivenMetric gave .*must return a dict of numbers'):
        measured(GivenMetric(given, prefix=prefix))


def test_an_evaluation_that_gives_nothing_is_told_and_a_nan_stays():
    assert measured(GivenMetric({})) == ({}, ['GivenMetric gave no metric for 4 samples.'])
    metrics, warnings = measured(GivenMetric({}), GivenMetric(dict(acc=math.nan)))
    assert math.isnan(metrics['acc'])
    assert warnings == []


@pytest.mark.parametrize('outputs', [None, dict(pred=[1]), 0.5])
def test_predictions_that_are_no_list_of_samples_name_the_model(outputs):
    with pytest.raises(UserError, match=rf"GivenMetric returned a {type(outputs).__name__} in mode 'predict'"):
        check_predictions(outputs, GivenMetric(), Evaluator([]))
    check_predictions([1], GivenMetric(), Evaluator([]))
    check_predictions(outputs, GivenMetric(), object())  # an evaluator of the user's may take it


def test_one_name_of_two_metrics_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"both give a metric 'acc': write prefix="):
        measured(GivenMetric(dict(acc=1.0)), GivenMetric(dict(acc=2.0)))


def test_a_run_is_judged_by_an_array_of_one(tmp_path):
    cfg = toy_config(
        tmp_path,
        max_iters=4,
        val_evaluator=dict(metrics=[dict(type='GivenMetric', given=dict(acc=np.array([0.25])))]),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, save_best='acc', rule='greater')),
    )
    runner = RUNNERS.get('IterBasedRunner').from_cfg(cfg)
    runner.train()
    assert runner.message_hub.get_info('best_checkpoints')['acc']['score'] == 0.25
