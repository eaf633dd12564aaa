"""SlowOnly small enough to learn on two CPU cores in two minutes, on the built-in drivers.

python tools/datasets/make_demo.py driver && python tools/train.py configs/demo/video_conv3d_driver.py
"""

_base_ = ['../baseline/video_conv3d_driver.py']
precision = 'auto'
data_root = 'data/demo/driver'
# A head that looks somewhere is seen in 4 small frames. All 36 short videos stay open: each opening costs a scan.
small = dict(data_root=data_root, img_size=64, uniform_temporal_subsample_num=4, max_open_videos=36)
data = dict(
    samples_per_gpu=12,
    workers_per_gpu=1,
    val_dataloader=dict(samples_per_gpu=24),
    test_dataloader=dict(samples_per_gpu=24),
    train=small,
    val=small,
    test=small,
)
model = dict(encoder=dict(depths=(1, 1, 1, 1), base_channels=16), fusion=dict(drop_rate=0.1))
optimizer = dict(lr=1e-3)  # from scratch, a few hundred steps
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(warmup='linear', warmup_iters=20, warmup_ratio=0.01)
runner = dict(max_epochs=10)
checkpoint_config = dict(interval=5)
evaluation = dict(interval=2)
log_config = dict(interval=6)
# Nine actions, equally often: one in nine is right without looking.
expect = dict(metric='accuracy', baseline=dict(type='majority_class'), margin=0.4)
seed = 0
