"""ST-GCN on the keypoints of driver actions."""

_base_ = [
    '../_base_/models/video_stgcn.py',
    '../_base_/datasets/driver.py',
    '../_base_/default_runtime.py',
    '../_base_/schedules/schedule_50e_driver.py',
]
selective = dict(load_rgb=False, load_kpt=True, num_io_threads=8)  # 8 small files per sample
data = dict(
    samples_per_gpu=32,  # keypoints are small, and BatchNorm wants many
    train=selective,
    val=selective,
    test=selective,
    val_dataloader=dict(samples_per_gpu=32),
    test_dataloader=dict(samples_per_gpu=32),
)
