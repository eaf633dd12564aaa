"""YOLOv5 on the event frames of `make_demo.py fred`; else as yolov5_fred_rgb.py."""

_base_ = ['./yolov5_fred_rgb.py']
data = dict(
    train=dict(ann_file='annotations/event_train.json'),
    val=dict(ann_file='annotations/event_val.json'),
    test=dict(ann_file='annotations/event_val.json'),
)
