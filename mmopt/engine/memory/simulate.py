"""Run training steps on the simulated GPU and record them.

The step is the engine's own (:class:`mmopt.engine.loops.step.TrainStep`), the model and the optimizer wrapper are the
config's: what they do differently is estimated differently, without a second description of it.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmopt.engine.loading.prefetch import copy_batch
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.memory.autocast import install_autocast
from mmopt.engine.memory.device import DEVICE_TYPE, register_device
from mmopt.engine.memory.fake_calls import answer_calls
from mmopt.engine.memory.kernels import KernelModel, install_kernels
from mmopt.engine.memory.trace import Recorder, Trace
from mmopt.engine.memory.values import MAX_RANDOM, KnownValues, forget

__all__ = ['Simulator', 'move_model', 'prefer_foreach', 'record_steps']

MAX_WINDOW = 2
"""Iterations of an accumulation window that are run: the second already sees the gradients of the first."""


def move_model(model: nn.Module, device: torch.device) -> None:
    """Move parameters and buffers one by one, as ``model.to(device)`` does (which fake tensors refuse)."""
    moved: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, param in list(module._parameters.items()):
            if param is None:
                continue
            if id(param) not in moved:
                forget(param)
                copy = nn.Parameter(param.detach().to(device), requires_grad=param.requires_grad)
                copy.__dict__.update({key: value for key, value in vars(param).items() if key[0] != '_'})
                moved[id(param)] = copy
                forget(copy)
            # Through setattr: recurrent layers keep a second list of their weights.
            setattr(module, name, moved[id(param)])
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = buffer.to(device)
        if isinstance(module, BaseDataPreprocessor):
            module._device = device  # what its own to() notes: where batches go


def record_steps(
    recorder: Recorder,
    model: nn.Module,
    optim_wrapper: Any,
    make_batch: Callable[[], Any],
    *,
    num_steps: int = 2,
    micro_batch: int | None = None,
    before_first: Callable[..., None] | None = None,
    prefetches: bool = False,
) -> None:
    """Run optimizer steps; the first allocates the optimizer's state, the second shows the peak of all later ones.

    Args:
        recorder: Records; it is active already.
        model: On its device, in training mode.
        optim_wrapper: The optimizer wrapper; its accumulation window is shortened to :data:`MAX_WINDOW`.
        make_batch: Gives a batch in host memory.
        num_steps: Optimizer steps.
        micro_batch: See :class:`~mmopt.engine.loops.step.TrainStep`.
        before_first: See :attr:`~mmopt.engine.loops.step.TrainStep.before_first`.
        prefetches: Whether batches come from a stream of copies (:mod:`mmopt.engine.loading.prefetch`).
    """
    run_step = optim_wrapper.step

    def step(**kwargs: Any) -> None:
        recorder.phase = 'step'
        run_step(**kwargs)
        recorder.label(list(optim_wrapper.optimizer.state.values()), 'optimizer')

    optim_wrapper.step = step
    window = optim_wrapper._accumulative_counts = min(optim_wrapper.accumulative_counts, MAX_WINDOW)
    optim_wrapper.initialize_count_status(model, 0, num_steps * window)
    train_step: Any = TrainStep(model, optim_wrapper, micro_batch)
    train_step.before_first = before_first
    preprocess = train_step._preprocess

    def preprocess_and_label(batch: Any) -> Any:
        batch = preprocess(batch)
        recorder.label(batch, 'inputs')
        return batch

    train_step._preprocess = preprocess_and_label
    recorder.label([*model.parameters(), *model.buffers()], 'weights')
    with recorder.naming_modules(model):
        for iteration in range(num_steps * window):
            recorder.mark(f'iteration {iteration}')
            recorder.phase = 'forward'
            batch = make_batch()
            if prefetches:
                recorder.copies = True
                batch = copy_batch(batch, model)
                recorder.copies = False
            train_step(batch)
            del batch
            # Reference cycles would otherwise live until Python happens to look for them.
            gc.collect()
    recorder.mark('end')


class Simulator:
    """A simulated GPU in this process, which cannot be taken out of it again.

    Args:
        kernels: What CUDA's libraries take.
    """

    def __init__(self, kernels: KernelModel | None = None) -> None:
        self.kernels = kernels or KernelModel()
        self.device = register_device()
        self.fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._cast_cache = install_autocast()
        self._libraries = install_kernels(self.kernels)

    def trace(
        self,
        build_model: Callable[[], nn.Module],
        build_optim_wrapper: Callable[[nn.Module], Any],
        make_batch: Callable[[], Any],
        *,
        change_model: Callable[[nn.Module], None] | None = None,
        num_averaged: int = 0,
        micro_batch: int | None = None,
        before_first: Callable[..., None] | None = None,
        prefetches: bool = False,
        device: torch.device | None = None,
        num_steps: int = 1,
    ) -> tuple[Trace, dict[str, int]]:
        """Trace the training of a model.

        Args:
            build_model: Builds the model in host memory.
            build_optim_wrapper: Builds the optimizer wrapper.
            make_batch: Gives a collated batch in host memory.
            change_model: Is called with the model on the device, in training mode: `optimize` and frozen parts.
            num_averaged: Copies of the weights that hooks keep (EMA).
            micro_batch: Samples per forward pass.
            before_first: Is called with the step and its first batch: what a run decides then.
            prefetches: Whether the run copies batches in a stream of their own.
            device: Another device than the simulated GPU: with the CPU, the trace follows the CPU's rules and can be
                compared with :mod:`mmopt.engine.memory.measure`.
            num_steps: Optimizer steps to run; after a single one its events are repeated, which gives the same in
                half the time.

        Returns:
            The trace of two steps, and the assumptions that were made about values, with their counts.
        """
        device = device or self.device
        on_gpu = device.type == DEVICE_TYPE
        values = KnownValues(self.fake_mode, real_host=on_gpu)
        recorder = Recorder(device.type, values, self.kernels.workspace if on_gpu else None)
        with _manual_collection(), self.fake_mode, _numbers_made_on_host(), answer_calls(values), recorder:
            with _skipping_initialization():
                model = build_model()
            move_model(model, device)
            model.train()
            if change_model is not None:
                change_model(model)
            averaged = [copy.clone() for _ in range(num_averaged) for copy in model.state_dict().values()]
            recorder.label(averaged, 'averaged')
            # Handles of the library make their workspace at the first product: in forward, and in the thread of the
            # backward pass.
            for _ in range(2 * on_gpu):
                recorder.take(self.kernels.blas_workspace, 'cublas', keep=True)
            optim_wrapper = build_optim_wrapper(model)
            prefer_foreach(optim_wrapper.optimizer)
            start = len(recorder.trace.events)
            record_steps(
                recorder,
                model,
                optim_wrapper,
                make_batch,
                num_steps=num_steps,
                micro_batch=micro_batch,
                before_first=before_first,
                prefetches=prefetches,
            )
        trace = recorder.trace
        recorder.trace = Trace([], [], [])  # what dies from now on is not part of it
        return trace.repeated(start) if num_steps == 1 else trace, dict(values.assumed)


@contextmanager
def _numbers_made_on_host() -> Iterator[None]:
    """Let ``torch.tensor`` and ``new_tensor`` make numbers on the host and move them by an operator that modes see.

    torch asks for memory of the device at once where a backend calls itself available.
    """
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


@contextmanager
def _manual_collection() -> Iterator[None]:
    """Look for reference cycles only where the steps do: not at odd moments, and not among what was imported."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


@contextmanager
def _skipping_initialization() -> Iterator[None]:
    """Leave large tensors as they are: their values count for nothing, and rejection sampling reads them."""
    names = [name for name in vars(nn.init) if name.startswith('_no_grad_')]
    names += ['orthogonal_', 'sparse_', 'dirac_', 'eye_']
    originals = {name: getattr(nn.init, name) for name in names if hasattr(nn.init, name)}

    def skipping(original: Callable) -> Callable:
        def initialize(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if tensor.numel() > MAX_RANDOM:
                forget(tensor)
                return tensor
            return original(tensor, *args, **kwargs)

        return initialize

    for name, original in originals.items():
        setattr(nn.init, name, skipping(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(nn.init, name, original)


def prefer_foreach(optimizer: torch.optim.Optimizer) -> None:
    """Choose the implementation that torch chooses for parameters on a GPU: all of a group at once."""
    for group in optimizer.param_groups:
        if group.get('foreach', 0) is None and not group.get('fused') and not group.get('differentiable'):
            group['foreach'] = True
