"""A narrow YOLOv5, a quarter of the channels: for CPUs and little data."""

_base_ = ['./yolov5m.py']
model = dict(
    backbone=dict(depth=0.33, width=0.25),
    neck=dict(depth=0.33),
    # In a short training at weight 1 the boxes, which only positives teach, rule the features.
    objectness_weight=8.0,
)
