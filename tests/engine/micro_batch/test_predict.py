import logging

import pytest
import torch

from mmopt.datasets.common import stack_collate
from mmopt.engine.micro_batch import Predictor
from mmopt.utils.errors import UserError
from tests.engine.test_runner import build
from tests.engine.toy import ToyDataset, ToyModel, toy_config

LOGGER = logging.getLogger('predict')


class NarrowModel(ToyModel):
    """Predicts ``capacity`` samples at once."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.attempts: list[int] = []

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        self.attempts.append(len(inputs))
        if len(inputs) > self.capacity:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return super().forward(inputs, data_samples, mode, normalizers)


@pytest.fixture
def batch() -> dict:
    dataset = ToyDataset(length=8, noise=0.0)
    return stack_collate([dataset[i] for i in range(8)])


def test_predictions_in_parts_are_those_of_the_whole_batch_in_order(batch):
    model = NarrowModel(capacity=8).eval()
    with torch.no_grad():
        want = [sample.pred.clone() for sample in Predictor(model, LOGGER)(batch)]
        model.capacity = 3
        predict = Predictor(model, LOGGER)
        got = [sample.pred for sample in predict(batch)]
    torch.testing.assert_close(got, want)
    assert model.attempts == [8, 8, 4, 2, 2, 2, 2]
    model.attempts.clear()
    predict(batch)
    assert model.attempts == [2, 2, 2, 2]


def test_one_sample_that_does_not_fit_names_what_would_help(batch):
    with pytest.raises(UserError, match='while predicting a single sample: CUDA out of memory'):
        Predictor(NarrowModel(capacity=0).eval(), LOGGER)(batch)


def test_other_errors_and_other_outputs_pass_through(batch):
    class Odd(NarrowModel):
        def val_step(self, data):
            super().val_step(data)
            return dict(pred=1)

    model = Odd(capacity=8).eval()
    assert Predictor(model, LOGGER)(batch) == dict(pred=1)
    model.capacity = 4
    with pytest.raises(TypeError, match='cannot be joined over the parts'):
        Predictor(model, LOGGER)(batch)
    model.out = torch.nn.Linear(3, 1)
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        Predictor(model, LOGGER)(batch)


def test_an_evaluation_that_runs_out_of_memory_does_not_end_the_run(tmp_path, monkeypatch):
    whole = ToyModel.forward
    sizes = []

    def narrow(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        sizes.append((mode, len(inputs)))
        if mode == 'predict' and len(inputs) > 2:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        return whole(self, inputs, data_samples, mode, normalizers)

    reference = build(toy_config(tmp_path / 'a', max_iters=4))
    reference.train()
    monkeypatch.setattr(ToyModel, 'forward', narrow)
    runner = build(toy_config(tmp_path / 'b', max_iters=4))
    runner.train()
    assert runner.val_loop.metrics == pytest.approx(reference.val_loop.metrics)
    assert [size for mode, size in sizes if mode == 'predict'] == [4, 2, 2, 2]
    assert 'Out of memory while predicting 4 samples at once' in (tmp_path / 'b' / 'latest.log').read_text()
