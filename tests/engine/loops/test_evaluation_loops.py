import numpy as np
import torch
from torch.utils.data import SequentialSampler

from mmopt.registry import DATA_SAMPLERS, DATASETS, METRICS
from tests.engine.test_runner import build
from tests.engine.toy import ToyDataset, ToyError, toy_config


@METRICS.register_module(force=True)
class PrecisionSeen(ToyError):
    """Note the precision in which the model predicts and in which this metric computes."""

    def process(self, data_batch, data_samples):
        ones = torch.ones(2, 2)
        self.results.append((data_samples[0]['pred'].dtype, (ones @ ones).dtype))

    def compute_metrics(self, results):
        return dict(model_is_half=results[0][0] == torch.bfloat16, metric_is_half=results[0][1] == torch.bfloat16)


def test_the_model_predicts_in_the_precision_of_the_run_and_metrics_count_in_float32(tmp_path):
    cfg = toy_config(
        tmp_path,
        max_iters=1,
        optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16'),
        val_evaluator=dict(type='Evaluator', metrics=[dict(type='PrecisionSeen')]),
    )
    runner = build(cfg)
    runner.train()
    assert runner.val_loop.metrics == dict(model_is_half=True, metric_is_half=False)


@DATASETS.register_module(force=True)
class NoisyTruth(ToyDataset):
    """Draws from NumPy's global generator, as data sets of other libraries do."""

    def prepare_data(self, idx):
        sample = super().prepare_data(idx)
        sample['data_samples'].target += np.random.rand()
        return sample


@DATA_SAMPLERS.register_module(force=True)
class KnowsNoEpoch(SequentialSampler):
    def __init__(self, dataset, seed=None) -> None:
        super().__init__(dataset)


def test_every_evaluation_draws_the_same_also_with_the_samplers_of_others(tmp_path):
    loader = dict(
        dataset=dict(type='NoisyTruth', length=6),
        sampler=dict(type='KnowsNoEpoch'),
        num_workers=1,
        persistent_workers=True,
    )
    runner = build(toy_config(tmp_path, max_iters=1, val_dataloader=loader))
    runner.train()
    first = dict(runner.val_loop.metrics)
    assert runner.val_loop.run() == first
    runner.val_dataloader._iterator._shutdown_workers()
