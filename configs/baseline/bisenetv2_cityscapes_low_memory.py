"""In little memory: batch 32 in FP16, two iterations to a step, and logits that are enlarged again in backward."""

_base_ = [
    '../_base_/models/bisenetv2.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_150k_cityscapes.py',
]
fp16 = dict(loss_scale='dynamic')
data = dict(samples_per_gpu=32, workers_per_gpu=8, pin_memory=True, persistent_workers=True, prefetch_factor=2)
model = dict(recompute_logits=True)  # of the five heads' logits at 512x1024 one is in memory at a time
optimizer = dict(lr=2e-2)  # 64 images to a step
runner = dict(max_iters=75000, accumulative_counts=2)
