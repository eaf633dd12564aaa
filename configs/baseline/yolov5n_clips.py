"""A narrow YOLOv5 on videos of one's own, made with `tools/datasets/prepare_clips.py`; small enough for a CPU."""

_base_ = [
    '../_base_/models/yolov5n.py',
    '../_base_/datasets/fred_rgb.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_12e_yolov5_small.py',
]
data_root = 'data/clips'
size = (256, 320)  # half of 512x640
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Letterbox', size='=size'), dict(type='PackDetection')]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # No mosaics: a clip of ten seconds shows one drone in one place, four of it at once are no such scene.
    dict(type='RandomLetterbox', size='=size', scale=(0.7, 1.5), aspect=0.2),
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='DrawHSV', hue=0.015, saturation=0.4, value=0.4),
    dict(type='PackDetection'),
]
model = dict(
    # Drones of 13 x 10 pixels at this size, by `tools/fit_anchors.py`; smaller and larger ones around them.
    head=dict(anchors=[[(8, 6), (12, 9), (16, 12)], [(20, 15), (26, 20), (34, 26)], [(45, 35), (60, 45), (90, 70)]]),
)
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=1,
    val_dataloader=dict(samples_per_gpu=16),
    test_dataloader=dict(samples_per_gpu=16),
    train=dict(data_root=data_root, ann_file='annotations/train.json', pipeline=train_pipeline),
    val=dict(data_root=data_root, ann_file='annotations/val.json', pipeline=test_pipeline),
    test=dict(data_root=data_root, ann_file='annotations/val.json', pipeline=test_pipeline),
)
log_config = dict(interval=10)
# 181 images are 23 iterations per epoch: on the clips' first 60 % alone, 192 iterations gave 0.34 and 320 gave 0.92.
runner = dict(max_epochs=20)
checkpoint_config = dict(interval=20)
evaluation = dict(interval=10)
