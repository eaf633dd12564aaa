"""Steps per second of a task in each precision, and how near that is to the ceiling of the products."""

import gc

from gpu_suite.child import Step
from gpu_suite.device import open_gpu
from gpu_suite.training import build, measure_speed

_ALL = ('optimize.channels_last=True', 'optimize.fused_optimizer=True')
# (name, precision, TF32 for products, options)
_KINDS = (
    ('fp32', 'fp32', False, ()),
    ('tf32', 'fp32', True, ()),
    ('fp16', 'fp16', False, ()),
    ('bf16', 'bf16', False, ()),
    ('bf16, channels last, fused', 'bf16', False, _ALL),
)


def run(step: Step) -> None:
    """Time one task."""
    gpu = open_gpu(tiny=step.tiny)
    flops = None
    batch_size = 2 if step.tiny else None
    for name, precision, tf32, options in _KINDS[:: step.size(1, 4)]:
        gpu.set_tf32(tf32)
        training = build(gpu, step.config(step.part), options, batch_size=batch_size, precision=precision)
        found = measure_speed(gpu, training, warmup=step.size(10, 1), repeats=step.size(30, 2), flops=flops)
        flops = found.pop('flops')
        step.row(task=step.part, setting=name, **found)
        del training
        gc.collect()
    gpu.set_tf32(False)
