"""YOLOv5m on FRED's images, the fast recipe for 24 GB: FP16, 150 epochs, larger batches, no MixUp.

Variants: `--options phases.1.samples_per_gpu=20` above 18 GB, `=12` when memory runs out; for speed
`phases.1.until_epoch=100 runner.max_epochs=100 data.train.pipeline.1.prob=0.3 data.train.pipeline.1.stop_epoch=70`.
"""

_base_ = [
    '../_base_/models/yolov5m.py',
    '../_base_/datasets/fred_rgb.py',
    '../_base_/default_runtime_fp16.py',
    '../_base_/schedules/schedule_150e_yolov5_fast.py',
]
fp16 = dict(loss_scale='dynamic')  # sums over many positives: a static 512 may overflow early on
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Mosaic', size='=size', prob=0.5, stop_epoch=105),  # 70 % of 150
    dict(type='RandomLetterbox', size='=size', scale=(0.5, 1.5), aspect=0.1),
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='DrawHSV', hue=0.015, saturation=0.7, value=0.4),
    dict(type='PackDetection'),
]
# A mosaic takes four images, and half-precision steps wait for no loader: twice the workers.
data = dict(workers_per_gpu=8, train=dict(pipeline=train_pipeline))
