"""For 80 GB and more: batch 128 in FP16, sixteen workers that are four batches ahead."""

_base_ = ['./bisenetv2_cityscapes_fast.py']
data = dict(samples_per_gpu=128, workers_per_gpu=16, prefetch_factor=4)
optimizer = dict(lr=3e-2)  # less than linear (4e-2): momentum SGD wanders off at the larger rate
runner = dict(max_iters=18750)  # as many images as 150,000 iterations of 16
checkpoint_config = dict(interval=1250)
evaluation = dict(interval=1250)
