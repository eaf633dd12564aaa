# Lift-Splat-Shoot with Swin-T on nuScenes, 14 BEV classes: the baseline of DiffBEV.
# Batch 4 per GPU, AdamW lr 2e-4, 200k iterations, fp32: each number is in the base file it belongs to.
_base_ = [
    '../_base_/models/lss_swin.py',
    '../_base_/datasets/nuscene.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_200k_nuscenes.py',
]
