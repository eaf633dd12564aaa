"""A small model on a small demo world: it learns in seconds what nobody can say without looking at the image."""

from mmopt.apis import load_config, train
from mmopt.datasets.bev.demo import make_demo
from tests.conftest import REPO

# Everything that decides cost or result stands here, in float32: the demo's own config may be reshaped, and bfloat16
# costs a CPU without its arithmetic ten times as much.
CONFIG = """
_base_ = [
    '{base}/models/lss_swin.py',
    '{base}/datasets/nuscene.py',
    '{base}/default_runtime.py',
    '{base}/schedules/schedule_200k_nuscenes.py',
]
size = (160, 64)  # width and height of the network input
look = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='CropRows', start=0.49, stop=0.84),
    dict(type='Resize', img_scale=size, keep_ratio=False),
]
pack = dict(type='PackBEVInputs')
train_part = dict(data_root='{data}', pipeline=[*look, dict(type='RandomMirror'), pack])
val_part = dict(data_root='{data}', pipeline=[*look, pack])
data = dict(samples_per_gpu=2, workers_per_gpu=0, train=train_part, val=val_part, test=val_part)
priors = (
    0.53273, 0.05025, 0.18489, 0.05755, 0.03245, 0.01764, 0.0187, 0.01083, 0.00551, 0.00265, 0.00111, 0.00072, 0.00057,
    0.00158,
)
model = dict(
    backbone=dict(embed_dims=32, depths=(2, 2), num_heads=(2, 4), out_indices=(1,), position_size=size[::-1]),
    neck=dict(
        in_channels=64,
        image_size=size[::-1],
        stride=8,
        x_bound=(-25.0, 25.0, 1.0),
        z_bound=(1.0, 50.0, 1.0),
        depth_bound=(1.0, 50.0, 2.0),
        camera_height_m=1.51,
        pool='mean',
        exact_reference=False,
    ),
    head=dict(
        channels=(8, 4), num_blocks=(1, 1), upsample=(True, True), norm_cfg=dict(num_groups=4), priors=priors
    ),
)
optimizer = dict(
    lr=1e-2, betas=(0.9, 0.98), weight_decay=0.05, paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2)))
)
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(warmup_iters=10)
runner = dict(max_iters=160)
checkpoint_config = dict(interval=160)
evaluation = dict(interval=160)
expect = dict(metric='IoU.car', baseline=dict(type='bev_image_blind'), margin=0.04)
seed = 0
"""


def test_a_small_model_finds_the_cars_that_only_the_image_shows(tmp_path):
    made = make_demo(tmp_path / 'data', num_train=32, num_val=16, image_size=(225, 400), say=lambda line: None)
    config = tmp_path / 'small.py'
    config.write_text(CONFIG.format(base=REPO / 'configs/_base_', data=made.out))
    summary = train(load_config(config, work_dir=str(tmp_path / 'run')), num_pictures=0)
    (expected,) = summary.expectations
    # IoU of cars beside 0.040 without the image. Reached over seeds 0 to 2: 0.133 to 0.158 in float32 with AVX512,
    # 0.146 to 0.153 with AVX2 alone, 0.136 to 0.170 in bfloat16; with two threads 0.148 to 0.151. The mean over all
    # classes is no measure at this size: 0.053 to 0.063 beside 0.068.
    assert expected.source.startswith('bev_image_blind')
    assert expected.holds, expected
