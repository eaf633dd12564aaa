"""Fast: batch 64 in FP16, eight workers, one scale in evaluation, cuDNN free to choose its fastest algorithms."""

_base_ = [
    '../_base_/models/bisenetv2.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_150k_cityscapes.py',
]
fp16 = dict(loss_scale='dynamic')
data = dict(samples_per_gpu=64, workers_per_gpu=8, pin_memory=True, persistent_workers=True, prefetch_factor=2)
optimizer = dict(lr=2e-2)  # linear scaling: 5e-3 at batch 16
runner = dict(max_iters=37500)  # as many images as 150,000 iterations of 16
checkpoint_config = dict(interval=2500)
evaluation = dict(interval=2500)
