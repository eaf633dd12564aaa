"""The step that survives running out of memory, with faked errors on a CPU."""

import functools
import logging
import weakref

import pytest
import torch
from torch import nn

from mmopt.datasets.common import stack_collate
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch import AutoMicroBatchStep
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper
from mmopt.utils.errors import UserError
from mmopt.utils.memory import is_out_of_memory
from tests.conftest import forget_mmengine_globals
from tests.engine.micro_batch.hungry import FAILURES, HungryModel
from tests.engine.test_runner import Killed, KillHook, assert_same, build, state_of
from tests.engine.toy import ToyDataset, ToyModel, toy_config

LOGGER = logging.getLogger('micro_batch')


@functools.cache
def dataset() -> ToyDataset:
    return ToyDataset(length=24)


def toy_batch(size: int = 7, start: int = 0) -> dict:
    return stack_collate([dataset()[i] for i in range(start, start + size)])


def sgd(model: nn.Module) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))


def train(step_of, *, num_iters: int = 4, wrapper_type=OptimWrapper, dtype='float16', **model_args) -> tuple:
    """Train a fresh model; return its state, what was logged, and the wrapper."""
    torch.manual_seed(3)
    model = HungryModel(**model_args).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    extra = dict(dtype=dtype, loss_scale=dict(init_scale=256.0)) if wrapper_type is AmpOptimWrapper else {}
    wrapper = wrapper_type(optimizer, accumulative_counts=2, **extra)
    wrapper.initialize_count_status(model, 0, num_iters)
    step = step_of(model, wrapper)
    torch.manual_seed(4)
    logs = [{k: v.clone() for k, v in step(toy_batch(start=i)).items() if k == 'loss'} for i in range(num_iters)]
    return model, logs, wrapper


@pytest.mark.parametrize('place', ['forward', 'backward'])
@pytest.mark.parametrize('failure', FAILURES)
def test_a_repeated_step_is_bit_equal_to_one_that_started_smaller(place, failure):
    """With BatchNorm, dropout, and a failure in the middle of an accumulation window."""
    small, small_logs, _ = train(lambda *args: TrainStep(*args, micro_batch=4))
    auto, auto_logs, _ = train(
        lambda *args: AutoMicroBatchStep(*args, LOGGER), capacity=4, place=place, failure=failure
    )
    assert auto.attempts[:3] == [7, 4, 3]
    assert_same(small.state_dict(), auto.state_dict())
    assert small_logs == auto_logs


@pytest.mark.parametrize('at', [0, 1, 2])
def test_a_failure_of_any_iteration_leaves_no_trace(at):
    """The second of two accumulated iterations has gradients to lose."""

    class Sudden(AutoMicroBatchStep):
        iteration = -1

        def _backward(self, batch, normalizers):
            self.iteration += 1
            self.module.capacity = 4 if self.iteration >= at else 99
            return super()._backward(batch, normalizers)

    class Shrinking(TrainStep):
        iteration = -1

        def _backward(self, batch, normalizers):
            self.iteration += 1
            self.micro_batch = 4 if self.iteration >= at else None
            return super()._backward(batch, normalizers)

    small, small_logs, _ = train(Shrinking)
    auto, auto_logs, _ = train(lambda *args: Sudden(*args, LOGGER), place='backward')
    assert_same(small.state_dict(), auto.state_dict())
    assert small_logs == auto_logs


def test_a_failure_in_a_later_part_undoes_the_parts_before_it():
    class LateModel(HungryModel):
        """The whole fails, of two halves the second, quarters pass."""

        def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
            losses = super().forward(inputs, data_samples, mode, normalizers)
            if len(self.attempts) in (1, 3):
                raise torch.OutOfMemoryError('out of memory')
            return losses

    torch.manual_seed(3)
    late = LateModel()
    plain = HungryModel()
    plain.load_state_dict(late.state_dict())
    for model, step in (
        (plain, lambda *args: TrainStep(*args, micro_batch=2)),
        (late, lambda *args: AutoMicroBatchStep(*args, LOGGER)),
    ):
        torch.manual_seed(4)
        step(model, sgd(model))(toy_batch(8))
    assert late.attempts == [8, 4, 4, 2, 2, 2, 2]
    assert_same(plain.state_dict(), late.state_dict())


def test_the_loss_scaler_and_its_counts_are_those_of_a_run_without_failures():
    *_, small = train(lambda *args: TrainStep(*args, micro_batch=4), wrapper_type=AmpOptimWrapper)
    *_, auto = train(lambda *args: AutoMicroBatchStep(*args, LOGGER), wrapper_type=AmpOptimWrapper, capacity=4)
    assert small.state_dict()['loss_scaler'] == auto.state_dict()['loss_scaler']
    assert small.num_skipped_steps == auto.num_skipped_steps == 0


def test_a_repeated_step_in_emulated_bf16_is_bit_equal_to_one_that_started_smaller(no_half_arithmetic):
    half = dict(wrapper_type=AmpOptimWrapper, dtype='bfloat16')
    small, small_logs, _ = train(lambda *args: TrainStep(*args, micro_batch=4), **half)
    auto, auto_logs, _ = train(lambda *args: AutoMicroBatchStep(*args, LOGGER), capacity=4, **half)
    assert auto.attempts[:3] == [7, 4, 3]
    assert_same(small.state_dict(), auto.state_dict())
    assert small_logs == auto_logs


def test_without_a_failure_the_step_is_the_plain_one_bit_for_bit():
    plain, plain_logs, _ = train(TrainStep)
    auto, auto_logs, _ = train(lambda *args: AutoMicroBatchStep(*args, LOGGER))
    assert_same(plain.state_dict(), auto.state_dict())
    assert plain_logs == auto_logs


def test_the_log_says_what_happened_once_and_what_it_means_for_batch_norm(caplog):
    model = HungryModel(capacity=2)
    step = AutoMicroBatchStep(model, sgd(model), LOGGER)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            step(toy_batch(8))
    texts = [record.message for record in caplog.records]
    assert [text.split(':')[0] for text in texts if text.startswith('Out of memory')] == [
        'Out of memory at micro-batch 8',
        'Out of memory at micro-batch 4',
    ]
    assert 'Tried to allocate 2.00 GiB. The step is repeated at 4' in texts[0]
    assert sum('BatchNorm (1 layers, e.g. norm) takes its statistics from each micro-batch' in t for t in texts) == 1


def test_one_sample_that_does_not_fit_ends_the_run_with_what_would_help():
    model = HungryModel(capacity=0)
    model.norm = nn.Identity()  # BatchNorm of vectors refuses a single sample
    step = AutoMicroBatchStep(model, sgd(model), LOGGER, remedies=lambda: 'Buy a larger card.')
    with pytest.raises(UserError, match=r'sample \(micro-batch 1\): CUDA out of memory[^\n]*\nBuy a larger card'):
        step(toy_batch())


def test_other_errors_pass_through():
    class Broken(ToyModel):
        def forward(self, *args, **kwargs):
            raise RuntimeError('mat1 and mat2 shapes cannot be multiplied')

    model = Broken()
    step = AutoMicroBatchStep(model, sgd(model), LOGGER)
    with pytest.raises(RuntimeError, match='mat1 and mat2'):
        step(toy_batch())


def test_a_model_that_drives_its_optimizer_itself_is_refused():
    class OwnStep(ToyModel):
        def train_step(self, data, optim_wrapper):
            return {}

    model = OwnStep()
    with pytest.raises(UserError, match='OwnStep has a train_step of its own'):
        AutoMicroBatchStep(model, sgd(model), LOGGER)


def test_no_activation_outlives_a_failed_attempt():
    """What the repeated attempt needs must be free by then."""
    alive = []

    class Watched(HungryModel):
        def forward(self, inputs, *args, **kwargs):
            alive.append(sum(ref() is not None for ref in refs))
            marker = nn.Parameter(torch.zeros(1))  # an object of this frame, which only the error could keep
            refs.append(weakref.ref(marker))
            return super().forward(inputs, *args, **kwargs)

    refs: list = []
    model = Watched(capacity=2)
    AutoMicroBatchStep(model, sgd(model), LOGGER)(toy_batch(8))
    assert model.attempts[:3] == [8, 4, 2]
    assert max(alive) == 0


def hungry_config(work_dir, **changes) -> dict:
    return toy_config(
        work_dir,
        model=dict(type='HungryModel', capacity=3),
        optimize=dict(micro_batch='auto'),
        val_dataloader=None,
        val_evaluator=None,
        val_cfg=None,
        **changes,
    )


def test_a_resumed_run_goes_on_with_the_size_that_was_found(tmp_path):
    forget_mmengine_globals()
    whole = build(hungry_config(tmp_path / 'whole'))
    whole.train()
    killed = build(hungry_config(tmp_path / 'killed', custom_hooks=[dict(type=KillHook.__name__, after=5)]))
    with pytest.raises(Killed):
        killed.train()
    assert killed.model.attempts[:2] == [4, 2]
    resumed = build(hungry_config(tmp_path / 'killed', resume=True))
    resumed.train()
    assert set(resumed.model.attempts) == {2}
    assert resumed.train_loop.step.state == whole.train_loop.step.state
    assert_same(state_of(whole), state_of(resumed))
    text = (tmp_path / 'whole' / 'latest.log').read_text()
    assert 'Out of memory at micro-batch 4' in text
    assert 'micro_batch: 2.0000' in text


@pytest.mark.parametrize(
    'text',
    [
        'CUDA error: out of memory',
        'cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED',
        'cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.',
        'FIND was unable to find an engine to execute this computation',
        'GET was unable to find an engine to execute this computation',
        'Unable to find a valid cuDNN algorithm to run convolution',
        'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
        'CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`',
        "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    ],
)
def test_every_way_to_run_out_of_memory_is_recognized(text):
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(
    'error', [RuntimeError('device-side assert triggered'), ValueError('out of memory'), KeyError()]
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)
