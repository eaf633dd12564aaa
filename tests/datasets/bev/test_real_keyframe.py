"""Real input: the baseline model learns six labeled images of nuScenes, made by our own tool from one key frame."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.apis import load_config, train
from mmopt.datasets.bev.prepare import Options, prepare
from mmopt.datasets.common.pictures import contact_sheet
from mmopt.evaluation.baselines.bev import input_blind_iou

REPO = Path(__file__).resolve().parents[3]
# Not in pytest's own folder, which goes after three runs: the pictures are there to be looked at.
WORK_DIR = REPO / 'work_dirs' / 'real_keyframe'

# The baseline model with a quarter of its head's channels and a seventh of its pixels, without distortion: it shall
# learn the images by heart, in minutes on two cores. All six in each batch: with two, the steps undo each other.
CONFIG = """
_base_ = ['{base}']
size = (352, 192)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='Resize', img_scale=size, keep_ratio=False),
    dict(type='PackBEVInputs'),
]
part = dict(data_root='{data}', pipeline=pipeline)
data = dict(samples_per_gpu=6, workers_per_gpu=0, train=part, val=part, test=part)
model = dict(neck=dict(image_size=size[::-1]), head=dict(channels=(32, 16)))
bf16 = dict()
# The head takes large steps; a transformer from scratch breaks at them, and even untrained its features tell six images
# apart. 0.99: in 200 steps Adam must forget the first ones.
optimizer = dict(
    lr=5e-3,
    betas=(0.9, 0.99),
    paramwise_cfg=dict(
        custom_keys=dict(
            backbone=dict(lr_mult=0.02), relative_position_bias_table=dict(lr_mult=0.02, decay_mult=0.0)
        )
    ),
)
lr_config = dict(warmup_iters=10)
runner = dict(max_iters=200)
checkpoint_config = dict(interval=200)
evaluation = dict(interval=200)
log_config = dict(interval=20)
seed = 0
"""


@pytest.mark.slow
def test_training_on_six_real_images_reaches_0_6_where_no_look_at_the_image_gives_0_3(shared_dir, tmp_path, capsys):
    prepared = prepare(Options(source=shared_dir / 'data/nuscenes_keyframe', out=tmp_path / 'data', num_workers=0))
    assert prepared.num_images['train'] == 6
    labels_NZX = np.stack(
        [
            cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            for path in sorted((tmp_path / 'data/ann_bev_dir/train').iterdir())
        ]
    )
    blind = input_blind_iou(labels_NZX, labels_NZX)

    config = tmp_path / 'keyframe.py'
    config.write_text(CONFIG.format(base=REPO / 'configs/baseline/lss_swin_nuscenes.py', data=tmp_path / 'data'))
    shutil.rmtree(WORK_DIR, ignore_errors=True)
    summary = train(load_config(config, work_dir=str(WORK_DIR)), num_pictures=6)
    pictures = [cv2.imread(str(path)) for path in sorted((WORK_DIR / 'pictures').iterdir())]
    sheet = WORK_DIR / 'six_images.jpg'
    cv2.imwrite(str(sheet), contact_sheet(pictures))

    with capsys.disabled():
        print(f'\n{"":<24}{"trained":>8}{"input-blind":>13}')
        for name in blind:
            print(f'{name:<24}{summary.metrics[name]:>8.3f}{blind[name]:>13.3f}')
        print(f'{summary.wall_s:.0f} s; camera, prediction, ground truth: {sheet}')
    assert blind['mIoU'] < 0.3
    assert summary.metrics['mIoU'] > 0.6
    assert len(pictures) == 6
