"""Transformer on driver actions: batch 4, FP32; the memory presets start from here."""

_base_ = [
    '../_base_/models/video_transformer.py',
    '../_base_/datasets/driver.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_50e_driver.py',
]
