"""Memory that training steps take, beside what was estimated beforehand, and split by what it is for."""

import gc
import json
import os
import statistics
from typing import Any

from gpu_suite.child import Step
from gpu_suite.points import memory_points, point_key

_NO_WORKSPACE = ' without workspace'


def run(step: Step) -> None:
    """Measure the points of one task."""
    task = step.part.removesuffix(_NO_WORKSPACE)
    has_workspace = task == step.part
    if not has_workspace:
        os.environ['CUDNN_CONV_WSCAP_DBG'] = '0'  # cuDNN's own limit, in MiB; before it is loaded
    from gpu_suite.device import open_gpu

    gpu = open_gpu(tiny=step.tiny)
    estimates, made_with = _estimates(step)
    errors = []
    points = list(memory_points(task, tiny=step.tiny))
    for point in points if has_workspace else points[:1]:
        measured = measure_point(gpu, point)
        del measured['outside']  # of all processes that run side by side
        row = dict(task=step.part, **{key: value for key, value in point.items() if key != 'config'}, **measured)
        estimate = estimates.get(point_key(point))
        if estimate is not None:
            error = estimate['reserved'] / measured['reserved'] - 1
            row |= dict(estimated=estimate['reserved'], error=error, estimated_allocated=estimate['allocated'])
            row |= dict(estimated_parts=estimate['parts'], made_with=made_with)
            errors.append(abs(error))
        step.row(**row)
    if errors and has_workspace:
        median = statistics.median(errors)
        step.claim('median error of the memory estimate at most 3 %', f'{task}: {median:.1%}', median <= 0.03)
    if has_workspace:
        _in_the_loop(step, gpu, points[0], estimates)


def _estimates(step: Step) -> tuple[dict[str, Any], str]:
    if step.estimates is None:
        return {}, ''
    content = json.loads(step.estimates.read_text(encoding='utf-8'))
    return content['points'], content['torch']


def measure_point(gpu: Any, point: dict[str, Any]) -> dict[str, Any]:
    """Take two optimizer steps, batches copied ahead as in a run, and read the allocator.

    Args:
        gpu: Where.
        point: Arguments of :func:`mmopt.apis.memory.case.load_case`.

    Returns:
        Peaks in bytes, and what they consist of.
    """
    import torch

    from gpu_suite.batches import random_batch
    from mmopt.apis.memory.case import load_case
    from mmopt.engine.loading.prefetch import batch_source
    from mmopt.engine.loops.step import TrainStep

    gc.collect()
    gpu.forget()
    before = gpu.cuda.memory_allocated()
    case = load_case(**point)
    torch.backends.cudnn.benchmark = bool((case.cfg.get('env_cfg') or {}).get('cudnn_benchmark'))
    model = case.build_model()
    model.train()
    model.to(gpu.device)
    case.change_model(model)
    weights = gpu.cuda.memory_allocated() - before
    wrapper = case.build_optim_wrapper(model)
    window = wrapper._accumulative_counts = min(wrapper.accumulative_counts, 2)
    wrapper.initialize_count_status(model, 0, 2 * window)
    step = TrainStep(model, wrapper, case.micro_batch)
    step.before_first = case.before_first([])
    batches = iter([random_batch(case, seed) for seed in range(2 * window)])
    source = batch_source(batches, model, num_workers=1, enabled=case.prefetches)
    after_first = 0
    for number in range(2 * window):
        step(source.take())
        source.advance()
        if number == window - 1:
            after_first = gpu.cuda.memory_allocated()
    peaks = gpu.peaks()
    outside = gpu.used_beside_allocator()
    return dict(**peaks, outside=outside, weights=weights, with_optimizer_state=after_first - before)


def _in_the_loop(step: Step, gpu: Any, point: dict[str, Any], estimates: dict[str, Any]) -> None:
    """Run the same through the runner: loader, prefetch, guard, hooks and logs."""
    import tempfile

    from gpu_suite.batches import use_examples
    from gpu_suite.training import forget_runs
    from mmopt.apis.config import load_config
    from mmopt.apis.memory.case import load_case
    from mmopt.apis.run.start import build_runner

    gc.collect()
    forget_runs()
    gpu.forget()
    with tempfile.TemporaryDirectory() as work_dir:
        cfg = load_config(point['config'], precision=point['precision'], work_dir=work_dir)
        cfg.optim_wrapper = load_case(**point).cfg.optim_wrapper
        batch, iters = point['batch_size'], 4
        use_examples(cfg, batch * (iters + 2), num_workers=step.size(2, 0))
        cfg.train_dataloader['batch_size'] = batch
        cfg.train_cfg = dict(by_epoch=False, max_iters=iters, val_interval=10**6)
        cfg.optimize = {}
        build_runner(cfg).train()
        peaks = gpu.peaks()
    row = dict(task=f'{step.part}, whole run', batch_size=batch, precision=point['precision'], **peaks)
    estimate = estimates.get(point_key(point))
    if estimate is not None:
        row |= dict(estimated=estimate['reserved'], error=estimate['reserved'] / peaks['reserved'] - 1)
    step.row(**row)
