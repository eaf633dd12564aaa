"""A loader that decodes pictures, feeding the GPU: samples per second, waits, and whether copies run beside kernels."""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from gpu_suite.child import Step
from gpu_suite.device import Gpu, open_gpu
from gpu_suite.training import forget_runs

_TEXT = 'the copy of the next batch runs beside the kernels'


def run(step: Step) -> None:
    """Try workers, caches and prefetching."""
    gpu = open_gpu(tiny=step.tiny)
    _overlap(step, gpu)
    done = step.scratch / 'demo.done'
    until = time.monotonic() + step.size(20, 60)
    while not done.exists() and time.monotonic() < until:
        time.sleep(0.2)
    if not done.exists():
        raise SystemExit('the demo data was not made in time.')
    # The most telling first: what no longer fits into the limit is lost.
    settings: list[tuple[int, str | None, bool]] = [(8, None, True), (8, 'disk', True), (8, 'disk', False)]
    settings += [(0, None, True), (8, 'ram', True), (4, None, True), (14, None, True), (0, 'ram', True)]
    for workers, cache, prefetch in [(0, None, True)] if step.tiny else settings:
        _feed(step, workers, cache, prefetch)


def _feed(step: Step, workers: int, cache: str | None, prefetch: bool) -> None:
    from mmopt.apis.config import load_config, without_validation
    from mmopt.apis.run.start import build_runner

    iters = step.size(24, 2)
    with tempfile.TemporaryDirectory() as work_dir:
        options = [f'data.data_root={step.scratch / "demo"}', f'data.workers_per_gpu={workers}']
        options += [
            f'data.samples_per_gpu={step.size(4, 2)}',
            f'runner.max_iters={iters}',
            'checkpoint_config.interval=99999',
        ]
        if cache:
            options += [f"data.cache='{cache}'", f'data.cache_dir={step.scratch / "cache"}']
        cfg = load_config(step.config('bev'), options=options, precision='bf16', work_dir=work_dir)
        without_validation(cfg)
        cfg.pop('expect', None)
        cfg.train_cfg['device_prefetch'] = prefetch
        forget_runs()
        runner = build_runner(cfg)
        runner.train()
        scalars = runner.message_hub
        times, waits = (scalars.get_scalar(f'train/{name}').data[0] for name in ('time', 'data_time'))
        busy = scalars.get_scalar('train/gpu_busy').mean() if 'train/gpu_busy' in scalars.log_scalars else None
        split = _split(Path(work_dir))
    half = len(times) // 2
    step.row(
        workers=workers,
        cache=cache or 'none',
        prefetch=prefetch,
        samples_per_s=step.size(4, 2) / statistics.median(times[half:]),
        waits_for_data=sum(waits[half:]) / max(sum(times[half:]), 1e-9),
        gpu_busy=busy,
        time_split=split,
    )


def _split(work_dir: Path) -> str:
    found = sorted(work_dir.rglob('time_split.json'))
    return found[0].read_text()[:300] if found else ''


def _overlap(step: Step, gpu: Gpu) -> None:
    """Copy in a stream of its own beside products: together they must take less than one after the other."""
    host = torch.empty(step.size(512, 4) * 1024**2, dtype=torch.uint8, pin_memory=gpu.is_real)
    size = step.size(8192, 128)
    matrix = torch.randn(size, size, device=gpu.device, dtype=torch.bfloat16)

    def multiply() -> None:
        for _ in range(step.size(20, 1)):
            matrix @ matrix

    def copy() -> None:
        host.to(gpu.device, non_blocking=True)

    def both() -> None:
        gpu.beside(copy, multiply)

    products, copies, together = (statistics.median(gpu.times_ms(call, 2, 5)) for call in (multiply, copy, both))
    hidden = (products + copies - together) / min(products, copies)
    step.row(overlap='ms', products=products, copies=copies, together=together, hidden=hidden)
    step.claim(_TEXT, f'{hidden:.0%} of the shorter one is hidden', hidden > 0.5)
