"""For 8 GB of RAM and a GPU of 6 GB: batch 1 x 8, FP16, 160 pixels, checkpointing, 2 workers, chunks of 300 frames."""

_base_ = ['./video_transformer_driver.py', '../_base_/optimize/aggressive.py']
loading = dict(load_kpt=False, max_video_frames=300, num_io_threads=2, img_size=160)
data = dict(
    samples_per_gpu=1,
    val_dataloader=dict(samples_per_gpu=1),
    test_dataloader=dict(samples_per_gpu=1),
    train=loading,
    val=loading,
    test=loading,
)
runner = dict(accumulative_counts=8)
