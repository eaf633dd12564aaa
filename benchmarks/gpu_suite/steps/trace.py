"""Three steps under torch's profiler: the kernels that take the time, and the gaps between them."""

import gzip
from typing import Any

from torch.profiler import ProfilerActivity, profile

from gpu_suite.child import Step
from gpu_suite.device import open_gpu
from gpu_suite.training import build

_TOP = 20
_ITERS = 3


def run(step: Step) -> None:
    """Trace one task; the file is that of BEV."""
    gpu = open_gpu(tiny=step.tiny)
    training = build(gpu, step.config(step.part), batch_size=2 if step.tiny else None, precision='bf16')
    for _ in range(step.size(5, 1)):
        training.run()
    gpu.cuda.synchronize()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu.is_real else [])]
    with profile(activities=activities) as profiler:
        for _ in range(step.size(_ITERS, 1)):
            training.run()
        gpu.cuda.synchronize()
    spans = sorted(
        (event.start_ns(), event.start_ns() + event.duration_ns(), event.name())
        for event in profiler.profiler.kineto_results.events()
        if (event.device_type().name == 'CUDA') == gpu.is_real and event.duration_ns() > 0
    )
    _kernels(step, spans)
    _gaps(step, spans)
    if step.part == 'bev':
        plain = step.scratch / 'trace.json'
        profiler.export_chrome_trace(str(plain))
        (step.out / 'trace.json.gz').write_bytes(gzip.compress(plain.read_bytes()))


def _kernels(step: Step, spans: list[tuple[int, int, str]]) -> None:
    totals: dict[str, list[int]] = {}
    for start, stop, name in spans:
        totals.setdefault(name, []).append(stop - start)
    whole = sum(sum(values) for values in totals.values())
    for name, values in sorted(totals.items(), key=lambda item: -sum(item[1]))[:_TOP]:
        step.row(task=step.part, kernel=name[:120], calls=len(values), ms=sum(values) / 1e6, share=sum(values) / whole)


def _gaps(step: Step, spans: list[tuple[int, int, str]]) -> None:
    """Add up the time in which nothing ran."""
    idle, longest, end = 0, 0, spans[0][0]
    for start, stop, _ in spans:
        idle, longest = idle + max(start - end, 0), max(longest, start - end)
        end = max(end, stop)
    values: dict[str, Any] = dict(busy=1 - idle / max(end - spans[0][0], 1), longest_gap_us=longest / 1e3)
    step.row(task=step.part, launches=len(spans), **values)
