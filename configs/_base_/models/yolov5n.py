"""A narrow YOLOv5, a quarter of the channels: for CPUs and little data."""

_base_ = ['./yolov5m.py']
model = dict(backbone=dict(depth=0.33, width=0.25), neck=dict(depth=0.33))
