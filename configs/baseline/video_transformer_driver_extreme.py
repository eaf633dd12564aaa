"""For less than 8 GB of RAM and a GPU of 4 GB: batch 1 x 16, FP16, 112 pixels, checkpointing, no workers."""

_base_ = ['./video_transformer_driver.py', '../_base_/optimize/extreme.py']
loading = dict(load_kpt=False, max_video_frames=200, num_io_threads=1, img_size=112)
data = dict(
    samples_per_gpu=1,
    val_dataloader=dict(samples_per_gpu=1),
    test_dataloader=dict(samples_per_gpu=1),
    train=loading,
    val=loading,
    test=loading,
)
runner = dict(accumulative_counts=16)
