"""For 16 GB of RAM and a GPU of 8 GB: batch 2 x 2, FP16, 4 workers, chunks of 500 frames."""

_base_ = ['./video_transformer_driver.py', '../_base_/optimize/standard.py']
loading = dict(load_kpt=False, max_video_frames=500, num_io_threads=4)
data = dict(
    samples_per_gpu=2,
    val_dataloader=dict(samples_per_gpu=2),
    test_dataloader=dict(samples_per_gpu=2),
    train=loading,
    val=loading,
    test=loading,
)
runner = dict(accumulative_counts=2)
