import torch

from mmopt.registry import METRICS
from tests.engine.test_runner import build
from tests.engine.toy import ToyError, toy_config


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
