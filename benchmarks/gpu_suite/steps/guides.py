"""The rows of ``benchmarks/tables`` on made batches, each beside what its guide claims."""

import gc
from typing import Any

from gpu_suite.child import Step
from gpu_suite.device import open_gpu
from gpu_suite.parent import REPO
from gpu_suite.plan import TASKS
from gpu_suite.training import build, measure_speed
from mmopt.apis.bench.claims import QUANTITIES
from mmopt.apis.bench.tables import load_table
from mmopt.apis.memory.case import phases_of

# Rows that differ in their data alone, or need what is measured elsewhere, are left out.
_ROWS = dict(
    bev=(
        'batch 4', 'batch 8', 'batch 4, FP16', 'batch 8, FP16', 'batch 4, 2 accumulated', 'batch 4, blocks recomputed',
        'batch 4, BF16, channels_last, fused AdamW',
    ),
    segmentation=(
        'baseline: batch 32, FP32, deterministic', 'FP16', 'batch 64', 'logits enlarged again in backward',
        'fast: FP16, batch 64, workers, cuDNN', 'max: FP16, batch 128, 16 workers',
    ),
    detection=(
        'slow, 50 epochs frozen, batch 16', 'slow, 250 epochs, batch 8', 'fast, 30 epochs frozen, batch 32',
        'fast, 120 epochs, batch 16',
    ),
    tad=('batch 32, FP32', 'batch 32, FP16', 'batch 48, FP16', 'batch 24 x 2, FP16'),
)  # fmt: skip
_MEASURABLE = ('speed', 'memory_gib', 'memory_ratio')
_FAMOUS = {('bev', 'batch 8, FP16', 'speed'): 'BEV, batch 8 in FP16: 2 to 3 times the speed'}


def run(step: Step) -> None:
    """Measure the rows of one table; the first is the baseline of relative claims."""
    gpu = open_gpu(tiny=step.tiny)
    settings = {setting.name: setting for setting in load_table(REPO / f'benchmarks/tables/{step.part}.py').settings}
    first: dict[str, Any] | None = None
    tiny_config = TASKS['tad_v7' if step.part == 'tad' else step.part].config(tiny=True)
    for name in _ROWS[step.part][: step.size(99, 2)]:
        setting = settings[name]
        # The rehearsal takes the small model: the options of a table are for the large one.
        changes: dict[str, Any] = (
            dict(config=tiny_config, precision=setting.precision, batch_size=2)
            if step.tiny
            else dict(config=setting.config, options=setting.options, precision=setting.precision)
        )
        if not step.tiny and phases_of(setting.load()):
            changes['phase'] = 0  # each row of a table with phases trains one
        training = build(gpu, **changes)
        found = measure_speed(gpu, training, warmup=step.size(5, 1), repeats=step.size(15, 2), flops={})
        del training, found['flops'], found['tflop_per_s'], found['mfu']
        gc.collect()
        first = first or found
        found['speed'] = found['samples_per_s'] / first['samples_per_s']
        found['memory_ratio'] = found['reserved_gib'] / first['reserved_gib']
        step.row(table=step.part, setting=name, **found)
        for quantity, claimed in setting.claimed.items():
            if quantity in _MEASURABLE:
                value = found['reserved_gib'] if quantity == 'memory_gib' else found[quantity]
                text = _FAMOUS.get((step.part, name, quantity), f'{step.part}, {name}: {QUANTITIES[quantity].title}')
                step.claim(text, value, QUANTITIES[quantity].holds(value, claimed), ' - '.join(map(str, claimed)))
