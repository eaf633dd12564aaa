"""YOLOv5m on FRED's images, the slow recipe: 300 epochs in FP32 with Mosaic and MixUp.

FRED's label files hold drones alone: one class. `--options load_from=FILE` takes a plain state dict to begin with.
"""

_base_ = [
    '../_base_/models/yolov5m.py',
    '../_base_/datasets/fred_rgb.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_300e_yolov5.py',
]
