"""Two YOLOv5 backbones on the pairs of `make_demo.py fred`, an image and an event frame; else as yolov5_fred_rgb.py."""

_base_ = ['./yolov5_fred_rgb.py']
branch = dict(type='CSPDarknet', depth=0.33, width=0.25)
model = dict(
    backbone=dict(_delete_=True, type='FusionBackbone', backbones=[branch, branch]),
    data_preprocessor=dict(mean=(0.0,) * 6, std=(255.0,) * 6),
)
size = (192, 320)
pair = dict(type='LoadImagePair')
train_pipeline = [
    pair,
    dict(type='Mosaic', size='=size', prob=0.3, stop_epoch=4, scale=(0.6, 1.0), load=[pair]),
    dict(type='RandomLetterbox', size='=size', scale=(0.8, 1.4), aspect=0.1),
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='PackDetection'),
]
test_pipeline = [pair, dict(type='Letterbox', size='=size'), dict(type='PackDetection')]
data = dict(
    train=dict(ann_file='annotations/fusion_train.json', pipeline=train_pipeline),
    val=dict(ann_file='annotations/fusion_val.json', pipeline=test_pipeline),
    test=dict(ann_file='annotations/fusion_val.json', pipeline=test_pipeline),
)
