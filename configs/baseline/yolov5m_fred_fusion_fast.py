"""Two YOLOv5m backbones, for an RGB and an event frame of one moment; else as yolov5m_fred_rgb_fast.py."""

_base_ = ['./yolov5m_fred_rgb_fast.py']
branch = dict(type='CSPDarknet', depth=0.67, width=0.75)
model = dict(
    backbone=dict(_delete_=True, type='FusionBackbone', backbones=[branch, branch]),
    data_preprocessor=dict(mean=(0.0,) * 6, std=(255.0,) * 6),
)
pair = dict(type='LoadImagePair')
train_pipeline = [
    pair,
    dict(type='Mosaic', size='=size', prob=0.5, stop_epoch=105, load=[pair]),
    dict(type='RandomLetterbox', size='=size', scale=(0.5, 1.5), aspect=0.1),
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='DrawHSV', hue=0.015, saturation=0.7, value=0.4),  # of the RGB frame alone
    dict(type='PackDetection'),
]
test_pipeline = [pair, dict(type='Letterbox', size='=size'), dict(type='PackDetection')]
phases = [
    # Two backbones thaw: half the batch of one.
    dict(until_epoch=30, freeze=['backbone.backbones'], samples_per_gpu=16),
    dict(until_epoch=150, samples_per_gpu=8),
]
data = dict(
    train=dict(ann_file='annotations/fusion_train.json', pipeline=train_pipeline),
    val=dict(ann_file='annotations/fusion_val.json', pipeline=test_pipeline),
    test=dict(ann_file='annotations/fusion_test.json', pipeline=test_pipeline),
)
