"""The fast recipe, for 24 GB: 30 epochs frozen at batch 32, to 150 at batch 16."""

_base_ = ['./schedule_300e_yolov5.py']
phases = [
    dict(until_epoch=30, freeze=['backbone'], samples_per_gpu=32),  # 8 GB by the guide
    dict(until_epoch=150, samples_per_gpu=16),  # 12-14 GB by the guide; 20 above 18 GB, 12 when memory runs out
]
runner = dict(max_epochs=150)
# Half as many epochs need no more evaluations than before: 10 in all.
checkpoint_config = dict(interval=15)
evaluation = dict(interval=15)
