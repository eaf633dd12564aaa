"""BiSeNetV2 at half width on a folder of CamVid: 360x480, 11 classes, value 11 does not count.

The folder: train, trainannot, val, valannot. A thousand iterations of 4 are for a sample of 15 images; the whole set
of 367 wants twenty times as many.
"""

_base_ = [
    '../_base_/models/bisenetv2.py',
    '../_base_/default_runtime_bf16.py',
    '../_base_/schedules/schedule_150k_cityscapes.py',
]
optimize = dict(channels_last='2d')
data_root = 'data/camvid'
classes = [
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian', 'cyclist',
]  # fmt: skip
crop_size = (256, 320)  # height and width
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentationLabel'),
    dict(type='LoadBorderDistance', cache_dir=None),  # 360x480: made in the time that a file is opened
    dict(type='RandomScaleCropFlip', crop_size='=crop_size', scale_range=(0.6, 1.6)),
    dict(type='BoundaryRegions'),
    dict(type='DrawPhotometric'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegmentationLabel'),
    dict(type='LoadBorderDistance', cache_dir=None),
    dict(type='BoundaryRegions'),
    dict(type='PackInputs'),
]
common = dict(
    type='ImageMaskDataset', data_root=data_root, metainfo=dict(classes='=classes'), label_map={11: 255}
)  # fmt: skip
data = dict(
    samples_per_gpu=4,
    workers_per_gpu=0,  # decoded once, a sample takes 2 ms
    cache='ram',
    train=dict(**common, img_dir='train', ann_dir='trainannot', pipeline=train_pipeline),
    val=dict(**common, img_dir='val', ann_dir='valannot', pipeline=test_pipeline, test_mode=True),
    test=dict(**common, img_dir='val', ann_dir='valannot', pipeline=test_pipeline, test_mode=True),
)
model = dict(
    backbone=dict(detail_channels=(32, 32, 64), semantic_channels=(8, 16, 32, 64)),
    head=dict(in_channels=64, channels=128),
    auxiliary_heads=dict(
        _delete_=True,
        s3=dict(type='SegmentationHead', in_channels=16, channels=32, num_classes='=len(classes)'),
        s5=dict(type='SegmentationHead', in_channels=64, channels=32, num_classes='=len(classes)'),
    ),
)
# So short a run learns twice as fast by AdamW as by SGD (see the demo's config).
optimizer = dict(
    _delete_=True, type='AdamW', lr=3e-3, weight_decay=0.01,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)  # fmt: skip
lr_config = dict(warmup_iters=40)
runner = dict(max_iters=1000)
checkpoint_config = dict(interval=500)
evaluation = dict(interval=250)
log_config = dict(interval=20)
# The input-blind baseline (sky above, road below) has 0.17 on the sample.
expect = dict(metric='mIoU', baseline=dict(type='majority_map'), margin=0.15)
custom_hooks = []
seed = 0
