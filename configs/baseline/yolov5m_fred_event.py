"""YOLOv5m on FRED's event frames, the slow recipe; else as yolov5m_fred_rgb.py."""

_base_ = ['./yolov5m_fred_rgb.py']
load = [dict(type='LoadImageFromFile')]
place = dict(type='RandomLetterbox', size='=size', scale=(0.5, 1.5), aspect=0.1)
train_pipeline = [
    *load,
    dict(type='Mosaic', size='=size', prob=0.5, stop_epoch=210),
    dict(type='MixUp', prob=0.5, load=[*load, place]),
    place,
    dict(type='RandomFlipBoxes', prob=0.5),
    dict(type='PackDetection'),  # no change of colors: they say whether it became brighter or darker
]
data = dict(
    train=dict(ann_file='annotations/event_train.json', pipeline=train_pipeline),
    val=dict(ann_file='annotations/event_val.json'),
    test=dict(ann_file='annotations/event_test.json'),
)
