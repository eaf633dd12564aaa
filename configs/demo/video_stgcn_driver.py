"""ST-GCN small enough to learn the built-in drivers' keypoints in a minute; no video is opened.

python tools/datasets/make_demo.py driver && python tools/train.py configs/demo/video_stgcn_driver.py
"""

_base_ = ['../baseline/video_stgcn_driver.py']
precision = 'auto'
data_root = 'data/demo/driver'
data = dict(
    samples_per_gpu=12,
    workers_per_gpu=0,
    cache='ram',  # eight small files per sample: read once
    train=dict(data_root=data_root),
    val=dict(data_root=data_root),
    test=dict(data_root=data_root),
)
model = dict(keypoint_encoder=dict(channels=(32, 32, 64), kernel_size=3), fusion=dict(drop_rate=0.1))
optimizer = dict(lr=3e-3)  # from scratch, 200 steps
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(warmup='linear', warmup_iters=20, warmup_ratio=0.01)
runner = dict(max_epochs=12)
checkpoint_config = dict(interval=6)
evaluation = dict(interval=3)
log_config = dict(interval=6)
# Nine actions, equally often: one in nine is right without looking.
expect = dict(metric='accuracy', baseline=dict(type='majority_class'), margin=0.6)
seed = 0
