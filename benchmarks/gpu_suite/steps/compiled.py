"""What compiling the repeated blocks brings, and what it costs before the first step: last, since it takes long."""

import time

from gpu_suite.child import Step
from gpu_suite.device import open_gpu
from gpu_suite.training import build, measure_speed


def run(step: Step) -> None:
    """Time one task without and with it."""
    gpu = open_gpu(tiny=step.tiny)
    flops = None
    batch_size = 2 if step.tiny else None
    # The rehearsal has no compiler: what runs is the switch and not what it does.
    value = "{'regions': ['no_module']}" if step.tiny else 'True'
    for options in ([], [f'optimize.compile={value}']):
        begun = time.perf_counter()
        training = build(gpu, step.config(step.part), options, batch_size=batch_size, precision='bf16')
        training.run()
        gpu.cuda.synchronize()
        first_s = time.perf_counter() - begun
        found = measure_speed(gpu, training, warmup=step.size(5, 1), repeats=step.size(20, 2), flops=flops)
        flops = found.pop('flops')
        step.row(task=step.part, compiled=bool(options), until_first_step_s=first_s, **found)
