import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmopt.datasets.common import stack_collate
from mmopt.engine.loops.step import TrainStep, sum_losses
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper
from mmopt.utils.errors import UserError
from tests.engine.toy import ToyDataset, ToyModel


class MeanModel(BaseModel):
    """A foreign model: no normalizers, a plain mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        target = torch.stack([sample.target for sample in data_samples])
        return dict(loss=((self.layer(inputs) - target) ** 2).mean())


def toy_batch(size: int) -> dict:
    dataset = ToyDataset(length=24)
    return stack_collate([dataset[i] for i in range(size)])


def gradients(model: nn.Module, micro_batch: int | None, wrapper_type=OptimWrapper, **wrapper_args) -> list:
    """Return the gradients of one iteration on 7 samples, taken before the step by a step that never comes."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    wrapper = wrapper_type(optimizer, accumulative_counts=2, **wrapper_args)
    model.zero_grad()
    TrainStep(model, wrapper, micro_batch)(toy_batch(7))
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize('micro_batch', [1, 2, 3, 6, 7, 99])
def test_micro_batched_gradients_equal_the_whole_batch(micro_batch):
    model = ToyModel(dropout=0.0)
    for got, want in zip(gradients(model, micro_batch), gradients(model, None), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('micro_batch', [2, 3])
def test_models_without_normalizers_are_weighted_by_sample_count(micro_batch):
    model = MeanModel()
    for got, want in zip(gradients(model, micro_batch), gradients(model, None), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


def test_logged_losses_of_micro_batches_add_up():
    model = ToyModel(dropout=0.0)
    logs = []
    for micro_batch in (None, 3):
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
        logs.append(TrainStep(model, wrapper, micro_batch)(toy_batch(7)))
    torch.testing.assert_close(logs[0]['loss'], logs[1]['loss'])
    torch.testing.assert_close(logs[0]['loss_fit'], logs[1]['loss_fit'])


def test_accumulation_over_c_iterations_equals_the_mean_gradient_and_steps_once():
    model = ToyModel(dropout=0.0)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 5)
    step = TrainStep(model, wrapper)
    before = [p.detach().clone() for p in model.parameters()]
    changed = []
    for _ in range(5):
        step(toy_batch(4))
        changed.append(any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)))
        before = [p.detach().clone() for p in model.parameters()]
    # Window of 3, then the remainder of 2 at the run's last iteration.
    assert changed == [False, False, True, False, True]


def test_the_remainder_window_is_divided_by_its_own_length():
    model = ToyModel(dropout=0.0)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0), accumulative_counts=3)
    wrapper.initialize_count_status(model, 3, 5)
    loss = torch.tensor(6.0)
    assert float(wrapper.scale_loss(loss)) == 3.0


def test_clipping_logs_the_norm_and_bounds_it():
    model = ToyModel(dropout=0.0)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0), clip_grad=dict(max_norm=1e-3, norm_type=2))
    before = [p.detach().clone() for p in model.parameters()]
    log = TrainStep(model, wrapper)(toy_batch(4))
    moved = sum((a - b.detach()).square().sum() for a, b in zip(before, model.parameters(), strict=True)).sqrt()
    assert float(log['grad_norm']) > 1e-3
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_amp_gradients_are_near_fp32_and_unscaled_by_the_static_scale(dtype):
    model = ToyModel(dropout=0.0)
    scale = 512.0 if dtype == 'float16' else 1.0
    amp = gradients(model, None, AmpOptimWrapper, dtype=dtype, loss_scale=512.0)
    for got, want in zip(amp, gradients(model, None), strict=True):
        torch.testing.assert_close(got / scale, want, rtol=0.05, atol=0.05)


def test_a_model_with_a_step_of_its_own_runs_in_the_precision_of_the_run():
    class OwnStep(ToyModel):
        def train_step(self, data, optim_wrapper):
            with optim_wrapper.optim_context(self):
                pred = self(data['inputs'])
            optim_wrapper.update_params(pred.float().square().mean())
            return dict(loss=pred.float().mean(), is_half=torch.tensor(float(pred.dtype == torch.bfloat16)))

    model = OwnStep(dropout=0.0)
    wrapper = AmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), dtype='bfloat16')
    assert float(TrainStep(model, wrapper)(toy_batch(4))['is_half']) == 1.0


def test_fp16_without_a_loss_scale_trains():
    model = ToyModel(dropout=0.0)
    wrapper = AmpOptimWrapper(
        torch.optim.SGD(model.parameters(), lr=0.1), dtype='float16', loss_scale=dict(init_scale=8.0, enabled=False)
    )
    before = [p.detach().clone() for p in model.parameters()]
    assert 'loss_scale' not in TrainStep(model, wrapper)(toy_batch(4))
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_static_scale_stays_and_an_overflow_skips_one_step_and_is_counted():
    model = ToyModel(dropout=0.0)
    wrapper = AmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), dtype='float16', loss_scale=512.0)
    step = TrainStep(model, wrapper)
    batch = toy_batch(4)
    bad = toy_batch(4)
    bad['inputs'][0] = float('inf')
    before = [p.detach().clone() for p in model.parameters()]
    log = step(bad)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert (wrapper.num_skipped_steps, float(log['loss_scale'])) == (1, 512.0)
    step(batch)
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert wrapper.num_skipped_steps == 1


def test_a_dynamic_scale_halves_on_overflow_and_survives_the_state_dict():
    model = ToyModel(dropout=0.0)

    def build():
        return AmpOptimWrapper(
            torch.optim.SGD(model.parameters(), lr=0.1), dtype='float16', loss_scale=dict(init_scale=1024.0)
        )

    wrapper = build()
    bad = toy_batch(4)
    bad['inputs'][0] = float('inf')
    log = TrainStep(model, wrapper)(bad)
    assert float(log['loss_scale']) == 512.0
    restored = build()
    restored.load_state_dict(wrapper.state_dict())
    assert restored.loss_scaler.get_scale() == 512.0
    assert restored.num_skipped_steps == 1


def test_entries_without_loss_in_their_name_are_logged_but_not_added():
    total, log = sum_losses(dict(loss_a=torch.tensor([1.0, 3.0]), loss_b=[torch.tensor(1.0)], acc=torch.tensor(9.0)))
    assert float(total) == 3.0
    assert {name: float(value) for name, value in log.items()} == dict(loss=3.0, loss_a=2.0, loss_b=1.0, acc=9.0)


def test_an_empty_list_of_losses_counts_nothing():
    total, log = sum_losses(dict(loss_box=torch.tensor(2.0), loss_mask=[]))
    assert {name: float(value) for name, value in log.items()} == dict(loss=2.0, loss_box=2.0, loss_mask=0.0)
    assert float(total) == 2.0


def test_a_model_without_a_loss_is_named():
    with pytest.raises(ValueError, match=r"none of \['acc'\] has 'loss'"):
        sum_losses(dict(acc=torch.tensor(1.0)))


@pytest.mark.parametrize('losses', [None, torch.tensor(1.0), [torch.tensor(1.0)]])
def test_a_model_that_returns_no_dict_is_told_what_to_return(losses):
    with pytest.raises(TypeError, match=rf"returned a {type(losses).__name__} in mode 'loss': it must return a dict"):
        sum_losses(losses)


def test_a_model_of_which_nothing_can_learn_is_named():
    model = ToyModel()
    model.requires_grad_(False)
    with pytest.raises(UserError, match='No parameter of ToyModel can learn from its loss: all are frozen'):
        gradients(model, None)


def test_a_foreign_optim_wrapper_names_the_remedy():
    from mmengine.optim import OptimWrapper as ForeignWrapper

    model = ToyModel()
    wrapper = ForeignWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TypeError, match="use type='OptimWrapper'"):
        TrainStep(model, wrapper)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"one of \['auto', 'bfloat16', 'float16'\], got 'int8'"):
        AmpOptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters()), dtype='int8')
