"""A large batch on cards that the GPU pretends to be: the size that is found, its cost, and the same bits."""

import logging
import statistics
from typing import Any

import torch

from gpu_suite.child import Step
from gpu_suite.device import GIB, Gpu, open_gpu
from gpu_suite.training import Training, build
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch import AutoMicroBatchStep
from mmopt.utils.errors import UserError

_ITERS = 3
_TOO_SMALL_GIB = 1.5
_EVALUATION_GIB = 2.5
_TEXT = 'a repeated iteration is bit-equal to one that began smaller'


def run(step: Step) -> None:
    """Try cards of less and less memory."""
    gpu = open_gpu(tiny=step.tiny)
    batch = step.size(32, 4)
    base = None
    found_size = None
    for card_gib in (None, 6) if step.tiny else (None, 40, 16, 8, 6):
        gpu.forget()
        gpu.limit(card_gib)
        training = _training(step, gpu, batch, None)
        sizes, times = _take(gpu, training)
        base = base or statistics.median(times)
        size = sizes[-1]
        peaks = gpu.peaks()
        step.row(
            card_gib=card_gib or gpu.total_bytes() / GIB,
            batch=batch,
            micro_batch=size or batch,
            reserved_gib=peaks['reserved'] / GIB,
            retries=peaks['retries'],
            time_ratio=statistics.median(times) / base,
        )
        if size is not None and found_size is None:
            found_size = size
            _compare_bits(step, gpu, batch, size, training)
        del training
    gpu.limit(None)
    if found_size is None:
        # In the rehearsal nothing runs out of memory: two runs of a size that was given are compared.
        training = _training(step, gpu, batch, 2)
        _take(gpu, training)
        _compare_bits(step, gpu, batch, 2, training)
    _evaluation(step, gpu, batch)
    _too_small(step, gpu, batch)


def _training(step: Step, gpu: Gpu, batch: int, size: int | None) -> Training:
    training = build(gpu, step.config('bev'), batch_size=batch, precision='fp32')
    # The same bits: the same kernels, whatever is free, and sums in the same order.
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    model, wrapper = training.step.model, training.step.optim_wrapper
    if size is None:
        training.step = AutoMicroBatchStep(model, wrapper, logging.getLogger('gpu_suite'))
    else:
        training.step = TrainStep(model, wrapper, size)
    return training


def _take(gpu: Gpu, training: Training) -> tuple[list[int | None], list[float]]:
    sizes, times = [], []
    torch.manual_seed(1)
    for _ in range(_ITERS):
        times += gpu.times_ms(training.run, 0, 1)
        sizes.append(training.step.state.size if isinstance(training.step, AutoMicroBatchStep) else None)
    return sizes, times[1:]


def _compare_bits(step: Step, gpu: Gpu, batch: int, size: int, other: Training) -> None:
    smaller = _training(step, gpu, batch, size)
    _take(gpu, smaller)
    pairs = zip(smaller.step.module.state_dict().values(), other.step.module.state_dict().values(), strict=True)
    off = max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())
    step.claim(_TEXT, f'micro-batch {size}: largest difference {off:.1e}', off == 0)


def _evaluation(step: Step, gpu: Gpu, batch: int) -> None:
    """Predict a batch that a small card does not hold."""
    from gpu_suite.batches import random_batch
    from mmopt.engine.micro_batch import Predictor

    gpu.forget()
    gpu.limit(_EVALUATION_GIB)
    training = build(gpu, step.config('bev'), batch_size=batch, precision='fp32')
    module = training.step.module.eval()
    predict = Predictor(module, logging.getLogger('gpu_suite'))
    with torch.no_grad():
        predicted = predict(random_batch(training.case))
    size = predict.state.size or batch
    measured = f'{len(predicted)} of {batch} predicted, {size} at once in {_EVALUATION_GIB} GiB'
    step.claim('an evaluation that runs out of memory goes on in parts', measured, len(predicted) == batch)
    gpu.limit(None)


def _too_small(step: Step, gpu: Gpu, batch: int) -> None:
    """Run on a card on which nothing fits: the run must end with advice."""
    gpu.forget()
    gpu.limit(_TOO_SMALL_GIB)
    said: Any = 'it fitted'
    try:
        training = _training(step, gpu, batch, None)
        training.run()
    except UserError as error:
        said = str(error)
    except torch.OutOfMemoryError as error:
        said = f'before the first step: {error}'
    step.row(card_gib=_TOO_SMALL_GIB, ended_with=said[:300])
    gpu.limit(None)
