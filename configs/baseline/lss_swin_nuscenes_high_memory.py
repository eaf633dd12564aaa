# The baseline for GPUs of 24 GB and more: twice the batch in fp16.
_base_ = [
    '../_base_/models/lss_swin.py',
    '../_base_/datasets/nuscene.py',
    '../_base_/default_runtime_fp16.py',  # fp16 with the static loss scale 512
    '../_base_/schedules/schedule_200k_nuscenes.py',
]
data = dict(samples_per_gpu=8)  # twice the baseline's 4: larger matrix products use a big GPU better
optimizer = dict(lr=4e-4)  # linear scaling: 2e-4 at batch 4, so 4e-4 at batch 8
