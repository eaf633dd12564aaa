"""YOLOv5 on `make_demo.py fred`: a narrow one at half the resolution, meant for under 3 minutes on 2 cores."""

_base_ = [
    '../_base_/models/yolov5n.py',
    '../_base_/datasets/fred_rgb.py',
    '../_base_/default_runtime_auto.py',
    '../_base_/schedules/schedule_12e_yolov5_small.py',
]
data_root = 'data/demo/fred'
size = (192, 320)
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Letterbox', size='=size'), dict(type='PackDetection')]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    # Two thirds of 6 epochs; few mosaics: drones of 20 pixels become a few pixels in them.
    dict(type='Mosaic', size='=size', prob=0.3, stop_epoch=4, scale=(0.6, 1.0)),
    dict(type='RandomLetterbox', size='=size', scale=(0.8, 1.4), aspect=0.1),
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='PackDetection'),
]
model = dict(
    # `tools/fit_anchors.py` on the demo gives (12, 5) to (36, 15); the last three are for what the pipeline enlarges.
    head=dict(anchors=[[(12, 5), (17, 7), (22, 9)], [(28, 11), (34, 14), (40, 17)], [(48, 20), (60, 25), (80, 40)]]),
)
data = dict(
    samples_per_gpu=8,  # twice the steps of 16 in the same time
    workers_per_gpu=1,
    val_dataloader=dict(samples_per_gpu=16),
    test_dataloader=dict(samples_per_gpu=16),
    train=dict(data_root=data_root, pipeline=train_pipeline),
    val=dict(data_root=data_root, pipeline=test_pipeline),
    test=dict(data_root=data_root, ann_file='annotations/rgb_val.json', pipeline=test_pipeline),
)
runner = dict(max_epochs=6)
checkpoint_config = dict(interval=6)
evaluation = dict(interval=3)
log_config = dict(interval=10)
# The input-blind baseline: boxes alone, without the image.
expect = dict(metric='mAP50', baseline=dict(type='BoxPrior'), margin=0.3)
