"""A training step of a config on made batches: what most steps build, time and count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gpu_suite.batches import random_batch
from gpu_suite.device import GIB, Gpu, spread
from mmopt.apis.memory.case import MemoryCase, load_case
from mmopt.engine.bench import step_flops
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.optim import OptimWrapper
from mmopt.engine.switches import apply_to_model
from mmopt.utils.machine import reachable_flop_per_s
from mmopt.utils.precision import DTYPES

__all__ = ['Training', 'build', 'forget_runs', 'measure_speed']

_SECONDS = 2.0
_LEAST_REPEATS = 5
_NUM_BATCHES = 3
"""Sets of inputs that take turns."""


@dataclass
class Training:
    """What takes steps.

    Attributes:
        case: The config with its batch size and precision.
        step: The engine's own step.
        batches: Batches on the device, which take turns.
    """

    case: MemoryCase
    step: TrainStep
    batches: list[Any]
    _turn: int = 0

    def run(self) -> dict[str, Any]:
        """Take a step on the next batch."""
        self._turn = (self._turn + 1) % len(self.batches)
        return self.step(self.batches[self._turn])

    def accumulated(self) -> None:
        """Take as many iterations as an optimizer step has."""
        for _ in range(self.step.optim_wrapper.accumulative_counts):
            self.run()


def build(gpu: Gpu, config: str, options: Sequence[str] = (), *, seed: int = 0, **changes: Any) -> Training:
    """Build model, optimizer and batches of a config.

    Args:
        gpu: Where.
        config: Its path.
        options: ``key=value`` texts.
        seed: Of weights and batches.
        changes: See :func:`mmopt.apis.memory.case.load_case`.

    Returns:
        Ready for the first step.
    """
    from mmopt.engine.loading.prefetch import copy_batch

    case = load_case(config, options, **changes)
    env, randomness = case.cfg.get('env_cfg') or {}, case.cfg.get('randomness') or {}
    torch.backends.cudnn.benchmark = bool(env.get('cudnn_benchmark'))
    torch.use_deterministic_algorithms(bool(randomness.get('deterministic')), warn_only=True)
    torch.manual_seed(seed)
    model = case.build_model()
    model.train()
    model.to(gpu.device)
    case.change_model(model)
    if case.optimize.get('compile'):  # which an estimate leaves out
        apply_to_model(model, dict(compile=case.optimize['compile']))
    wrapper: OptimWrapper = case.build_optim_wrapper(model)
    wrapper.initialize_count_status(model, 0, 10**6)
    step = TrainStep(model, wrapper, case.micro_batch)
    batches = [copy_batch(random_batch(case, seed + number), model) for number in range(_NUM_BATCHES)]
    return Training(case, step, batches)


def measure_speed(
    gpu: Gpu, training: Training, *, warmup: int, repeats: int, flops: dict[str, int] | None
) -> dict[str, Any]:
    """Time optimizer steps.

    Args:
        gpu: Where they run.
        training: What takes them.
        warmup: Steps before the timed ones.
        repeats: Timed steps.
        flops: Operations of an iteration where they are known; None counts them, before anything is timed.

    Returns:
        Times, rates and memory; ``flops`` for the next row.
    """
    if flops is None:
        flops = step_flops(training.step, training.batches[0])
    gpu.forget()
    # Large batches are timed less often: a step of the suite has seconds.
    probe = gpu.times_ms(training.accumulated, 2, 1)[0]
    most = max(int(_SECONDS * 1000 / probe), _LEAST_REPEATS)
    times = gpu.times_ms(training.accumulated, min(warmup, most), min(repeats, most))
    peaks = gpu.peaks()
    count = training.step.optim_wrapper.accumulative_counts
    median_s = spread(times)['median'] / 1000
    total = sum(flops.values()) * count
    rate = reachable_flop_per_s(flops, DTYPES[training.case.precision], gpu.device, size=gpu.product_size)
    loss = training.run()['loss']
    return dict(
        batch=training.case.batch_size,
        accumulated=count,
        ms=spread(times),
        samples_per_s=training.case.batch_size * count / median_s,
        tflop_per_s=total / median_s / 1e12,
        mfu=total / median_s / rate,
        allocated_gib=peaks['allocated'] / GIB,
        reserved_gib=peaks['reserved'] / GIB,
        retries=peaks['retries'],
        is_finite=bool(torch.isfinite(loss)),
        flops=flops,
    )


def forget_runs() -> None:
    """Drop what MMEngine keeps of the runs of a process: the next one gets loggers and writers of its own."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for manager in (DefaultScope, MessageHub, MMLogger, Visualizer):
        manager._instance_dict.clear()
