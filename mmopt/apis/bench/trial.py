"""One trial, in a process of its own: ``python -m mmopt.apis.bench.trial SPEC.json``.

SPEC.json holds the setting, how to measure it and the place of the result, a JSON file that appears when all is done.
"""

import json
import os
import statistics
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmopt.apis.bench.schedule import count_schedule
from mmopt.apis.bench.settings import Setting, TrialPlan
from mmopt.apis.cli.errors import explain
from mmopt.apis.config import samples_per_step
from mmopt.apis.run.facts import build_dataset
from mmopt.apis.run.start import build_runner
from mmopt.apis.run.train import train
from mmopt.config.evaluation import main_metric
from mmopt.engine.bench import EnoughMeasured, MeasureHook, step_flops
from mmopt.engine.hooks.time_split_hook import run_settings
from mmopt.structures import samples_per_batch
from mmopt.utils.machine import describe_machine, reachable_flop_per_s
from mmopt.utils.memory import is_out_of_memory
from mmopt.utils.precision import DTYPES, this_device

__all__ = ['main', 'run_trial']

_NEVER = 10**9


def run_trial(setting: Setting, plan: TrialPlan, work_dir: Path, parent_pid: int | None = None) -> dict[str, Any]:
    """Measure a setting in this process.

    Args:
        plan: How to measure it.
        work_dir: Logs and checkpoints of the run.
        parent_pid: See :class:`mmopt.engine.bench.MeasureHook`.

    Returns:
        What was measured: times in seconds, per iteration; memory in GiB; counts.
    """
    cfg = setting.load()
    cfg.work_dir = str(work_dir)
    cfg.randomness['seed'] = plan.seed
    if plan.metric:
        metrics = train(cfg, num_pictures=0).metrics
        return dict(metrics=dict(metrics), main_metric=main_metric(cfg, metrics), machine=describe_machine())
    accumulation = cfg.optim_wrapper.get('accumulative_counts') or 1
    # Whole accumulation windows: the step that ends one is shared by its iterations.
    warmup, iters = (-(-count // accumulation) * accumulation for count in (plan.warmup, plan.iters))
    schedule_cfg = cfg.to_dict()
    _shorten(cfg, warmup + iters)
    hook = MeasureHook(warmup, iters, plan.val_batches, parent_pid)
    if plan.budget_bytes is not None and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        torch.cuda.set_per_process_memory_fraction(min(plan.budget_bytes / total, 1.0))
    runner = build_runner(cfg)
    runner.register_hook(hook)
    with suppress(EnoughMeasured):
        runner.train()
    result = _timing(hook, accumulation) | dict(
        batch_size=samples_per_batch(runner.train_loop.dataloader),
        accumulation=accumulation,
        samples_per_step=samples_per_step(cfg.to_dict()),
        losses=hook.losses,
        # The run was shortened; advice is about the whole one.
        settings=run_settings(runner) | dict(val_interval=schedule_cfg['train_cfg'].get('val_interval')),
        emulates=_emulated_precision(runner, hook.device),
        peak_gib=hook.peak_gib,
        num_params=sum(param.numel() for param in runner.model.parameters()),
        machine=describe_machine(),
    )
    result['schedule'] = count_schedule(schedule_cfg, len(runner.train_dataloader.dataset), _num_val(runner))
    if plan.flops:
        result |= _utilization(runner, hook, result)
    if plan.val_batches:
        result |= _evaluation(runner, hook) | _saving(runner, work_dir)
    return result


def _shorten(cfg: Config, iters: int) -> None:
    """Let the run last as long as the measurement, without evaluations in between."""
    cfg.load_from, cfg.resume = None, False
    loop = cfg.train_cfg
    if cfg.get('val_cfg') is not None:
        for key in ('val_start', 'dynamic_intervals'):
            loop.pop(key, None)
        loop.update(val_interval=_NEVER, val_begin=_NEVER, val_at_end=False)
    if loop.get('max_iters'):
        loop['max_iters'] = max(loop['max_iters'], iters)
        return
    # An epoch shorter than the measurement would restart the loader in the middle of it.
    num_batches = len(build_dataset(cfg, 'train_dataloader')) // cfg.train_dataloader.get('batch_size', 1)
    if num_batches <= iters:
        cfg.train_dataloader['dataset'] = dict(
            type='RepeatDataset', dataset=cfg.train_dataloader['dataset'], times=-(-(iters + 1) // max(num_batches, 1))
        )


def _windows(values: list[float], length: int) -> list[float]:
    """Return the mean of each accumulation window."""
    return [sum(values[start : start + length]) / length for start in range(0, len(values), length)]


def _timing(hook: MeasureHook, accumulation: int) -> dict[str, Any]:
    parts = hook.clock.parts_s()
    return dict(
        iter_s=_windows(hook.clock.iterations_s(), accumulation),
        parts_s={part: statistics.median(_windows(values, accumulation)) for part, values in parts.items()},
    )


def _emulated_precision(runner: Runner, device: torch.device) -> str | None:
    precision = runner.optim_wrapper.precision
    return precision if this_device(device.type).support(precision).level == 'emulated' else None


def _utilization(runner: Runner, hook: MeasureHook, result: dict) -> dict[str, Any]:
    flops = step_flops(runner.train_loop.step, hook.last_batch)
    dtype = DTYPES['fp32' if result['emulates'] else runner.optim_wrapper.precision]
    rate, total = reachable_flop_per_s(flops, dtype, hook.device), sum(flops.values())
    median = statistics.median(result['iter_s'])
    return dict(flops=total, matmul_dtype=str(dtype).split('.')[-1], matmul_flop_per_s=rate, mfu=total / rate / median)


def _num_val(runner: Runner) -> int:
    return 0 if runner.val_loop is None else len(runner.val_dataloader.dataset)


def _evaluation(runner: Runner, hook: MeasureHook) -> dict[str, float]:
    if runner.val_loop is None:
        return {}
    with suppress(EnoughMeasured):
        runner.val_loop.run()
    times = hook.val_batch_s[1:] or hook.val_batch_s  # the first starts the workers
    return dict(val_batch_s=statistics.median(times))


def _saving(runner: Runner, work_dir: Path) -> dict[str, float]:
    path = work_dir / 'size_of_a_checkpoint.pth'
    start = time.perf_counter()
    runner.save_checkpoint(path)
    save_s = time.perf_counter() - start
    size_mib = path.stat().st_size / 1024**2
    path.unlink()
    return dict(save_s=save_s, checkpoint_mib=size_mib)


def main(argv: list[str]) -> int:
    """Run what a SPEC.json says and write its result; an error of the run is a result as well."""
    spec = json.loads(Path(argv[0]).read_text(encoding='utf-8'))
    setting = Setting(**spec['setting'] | dict(options=tuple(spec['setting']['options'])))
    out = Path(spec['out'])
    try:
        result = run_trial(setting, TrialPlan(**spec['plan']), Path(spec['work_dir']), os.getppid())
    except Exception as error:
        traceback.print_exc()
        kind = 'out of memory' if is_out_of_memory(error) else 'error'
        text = explain(error) or f'{type(error).__name__}: {error}'
        result = dict(failed=kind, message=' '.join(text.split())[:500], machine=describe_machine())
    unfinished = out.with_suffix('.part')
    unfinished.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    unfinished.replace(out)
    return int('failed' in result)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
