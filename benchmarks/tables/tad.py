"""Interval detection on MABe: precision and batch sizes of the guide to V7, with the memory that it states."""

title = 'V7 on MABe mouse tracks: precision and batch size'
source = 'the guide to V7, for an RTX 5090 of 32 GB'
config = 'configs/baseline/tad_v7_mabe_5090.py'
make_demo = 'python tools/datasets/make_demo.py mabe'
demo_options = ['data.data_root=data/demo/mabe']
rows = [
    dict(name='batch 32, FP32', precision='fp32'),
    # The guide computes 0.25 GB and reports 10-12 GB as seen.
    dict(name='batch 32, FP16', claimed=dict(memory_gib=(10.0, 12.0))),
    dict(
        name='batch 48, FP16',
        config='configs/baseline/tad_v7_mabe_5090_max.py',
        claimed=dict(memory_gib=(15.0, 18.0)),
    ),
    # The guide's ladder for when memory runs out: at least 32 per step.
    dict(name='batch 24 x 2, FP16', options=['data.samples_per_gpu=24', 'runner.accumulative_counts=2']),
    dict(name='batch 16 x 2, FP16', options=['data.samples_per_gpu=16', 'runner.accumulative_counts=2']),
    dict(name='batch 32, BF16', precision='bf16'),
]
