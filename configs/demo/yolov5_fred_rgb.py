"""YOLOv5 on `make_demo.py fred`: a narrow one at half the resolution, under 4 minutes on 2 cores."""

_base_ = ['../baseline/yolov5m_fred_rgb_fast.py']
data_root = 'data/demo/fred'
size = (192, 320)
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Letterbox', size=size), dict(type='PackDetection')]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Mosaic', size=size, prob=0.3, stop_epoch=8, scale=(0.6, 1.0)),  # 70 % of 12
    dict(type='RandomLetterbox', size=size, scale=(0.8, 1.4), aspect=0.1),
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='PackDetection'),
]
model = dict(
    backbone=dict(depth=0.33, width=0.25),
    neck=dict(depth=0.33),
    # tools/fit_anchors.py on the demo; the third level finds nothing so large and keeps to its share.
    head=dict(
        anchors=[[(12, 5), (17, 7), (22, 9)], [(28, 11), (34, 14), (40, 17)], [(48, 20), (60, 25), (80, 40)]],
    ),
)
data = dict(
    samples_per_gpu=16,
    workers_per_gpu=1,
    val_dataloader=dict(samples_per_gpu=16),
    test_dataloader=dict(samples_per_gpu=16),
    train=dict(data_root=data_root, pipeline=train_pipeline),
    val=dict(data_root=data_root, pipeline=test_pipeline),
    test=dict(data_root=data_root, ann_file='annotations/rgb_val.json', pipeline=test_pipeline),
)
# Nothing is known beforehand that a frozen backbone could keep.
phases = None
fp16 = None
# Twelve epochs from scratch: AdamW needs no hundreds of warm-up steps. A rate of 2e-3 at batch 16.
optimizer = dict(
    _delete_=True,
    type='AdamW',
    lr=2e-3,
    weight_decay=0.01,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
lr_config = dict(warmup_iters=1)
runner = dict(max_epochs=12)
log_config = dict(interval=10)
checkpoint_config = dict(interval=12)
evaluation = dict(interval=4)
custom_hooks = []  # an average over 2000 iterations would still be at its beginning
# What boxes alone tell, without the image.
expect = dict(metric='mAP50', baseline=dict(type='BoxPrior'), margin=0.3)
