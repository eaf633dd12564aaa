"""Measure on a CPU what the tracer predicts for it: the same steps on real tensors."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mmopt.engine.memory.simulate import prefer_foreach, record_steps
from mmopt.engine.memory.trace import Recorder, Trace

__all__ = ['measure_on_cpu', 'without_recurrent_workspace']


@contextmanager
def without_recurrent_workspace(model: nn.Module) -> Iterator[None]:
    """Let a model with recurrent layers run torch's own kernels instead of oneDNN's.

    oneDNN's recurrent layer returns a workspace whose size only oneDNN knows: on fake tensors it has no elements.

    Args:
        model: Decides; without recurrent layers nothing changes.
    """
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='TF32 acceleration on top of oneDNN')
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def measure_on_cpu(
    build_model: Callable[[], nn.Module],
    build_optim_wrapper: Callable[[nn.Module], Any],
    make_batch: Callable[[], Any],
    *,
    by_allocator: bool = False,
) -> int:
    """Run two optimizer steps on real tensors and return the peak of what they allocate.

    Args:
        build_optim_wrapper: Builds the optimizer wrapper.
        make_batch: Gives a collated batch.
        by_allocator: Sum up every call of the CPU's allocator, what kernels take and give back inside included, as
            torch's profiler sees it; otherwise what operators return, as the tracer sees it.

    Returns:
        Bytes: model, gradients, optimizer state and batch included.
    """
    recorder = Recorder('cpu')

    def run() -> None:
        model = build_model()
        model.train()
        optim_wrapper = build_optim_wrapper(model)
        prefer_foreach(optim_wrapper.optimizer)
        record_steps(recorder, model, optim_wrapper, make_batch)

    if not by_allocator:
        with recorder:
            run()
        trace, recorder.trace = recorder.trace, Trace([], [], [])
        return trace.peak()[0]
    gc.collect()  # what an earlier run left behind must not be counted as freed by this one
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    total = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak
