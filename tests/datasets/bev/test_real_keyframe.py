"""Real input: the baseline model learns six labelled images of nuScenes, made by our own tool from one key frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.apis import load_config, train
from mmopt.datasets.bev.prepare import Options, prepare
from mmopt.evaluation.image_blind import image_blind_iou

REPO = Path(__file__).resolve().parents[3]

# The baseline model with half its head channels, at under a third of the pixels, without distortion: it shall learn the
# images by heart, in minutes on two cores.
CONFIG = """
_base_ = ['{base}']
size = (448, 256)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='Resize', img_scale=size, keep_ratio=False),
    dict(type='PackBEVInputs'),
]
part = dict(data_root='{data}', pipeline=pipeline)
data = dict(samples_per_gpu=2, workers_per_gpu=0, train=part, val=part, test=part)
model = dict(neck=dict(image_size=size[::-1]), head=dict(channels=(64, 32)))
bf16 = dict()
optimizer = dict(lr=1e-3)
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(warmup_iters=10)
runner = dict(max_iters=300)
checkpoint_config = dict(interval=300)
evaluation = dict(interval=300)
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
    blind = image_blind_iou(labels_NZX, labels_NZX)

    config = tmp_path / 'keyframe.py'
    config.write_text(CONFIG.format(base=REPO / 'configs/baseline/lss_swin_nuscenes.py', data=tmp_path / 'data'))
    summary = train(load_config(config, work_dir=str(tmp_path / 'run')), num_pictures=6)

    with capsys.disabled():
        print(f'\n{"":<24}{"trained":>8}{"image-blind":>13}')
        for name in blind:
            print(f'{name:<24}{summary.metrics[name]:>8.3f}{blind[name]:>13.3f}')
        print(f'{summary.wall_s:.0f} s; camera, prediction, ground truth: {summary.places}')
    assert blind['mIoU'] < 0.3
    assert summary.metrics['mIoU'] > 0.6
    assert len(list((tmp_path / 'run').rglob('*.jpg'))) == 6
