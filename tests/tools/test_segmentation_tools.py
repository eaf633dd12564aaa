"""From a folder of real images to a trained model, with the tools as users call them."""

import json

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import REPO

SMALL = [
    'data.samples_per_gpu=4', 'data.workers_per_gpu=0', 'data.train.pipeline.3.crop_size=(64,96)',
    'model.backbone.detail_channels=(8,8,16)', 'model.backbone.semantic_channels=(4,8,8,16)',
    'model.head.in_channels=16', 'model.head.channels=16', 'model.auxiliary_heads.s3.in_channels=8',
    'model.auxiliary_heads.s5.in_channels=16',
]  # fmt: skip


@pytest.fixture
def camvid(shared_dir):
    return shared_dir / 'data/camvid'


def test_camvid_trains_evaluates_and_draws_pictures(tool, camvid, tmp_path):
    options = [f'data.data_root={camvid}', 'runner.max_iters=4', 'evaluation.interval=4', 'expect=None', *SMALL]
    options.append("custom_hooks=[{'type':'EMAHook','momentum':0.01}]")  # averaged weights, as the docs say
    config = str(REPO / 'configs/baseline/bisenetv2_camvid.py')
    assert tool('train').main([config, '--work-dir', str(tmp_path / 'run'), '--options', *options]) in (0, None)
    metrics = json.loads((tmp_path / 'run' / 'summary.json').read_text())['metrics']
    assert {'mIoU', 'fwIoU', 'F1', 'edge_F1', 'edge_mIoU', 'IoU.road'} <= metrics.keys()
    assert len(list((tmp_path / 'run' / 'pictures').glob('*.jpg'))) == 3
    assert torch.load(tmp_path / 'run' / 'iter_4.pth', weights_only=True)['ema_state_dict']


MANY = """
_base_ = ['{base}']
data_root = '{root}'
classes = [f'c{{index}}' for index in range(300)]
data = {{split: dict(data_root=data_root, label_map=None) for split in ('train', 'val', 'test')}}
data['workers_per_gpu'] = 0
"""


@pytest.mark.slow
def test_300_classes_train_evaluate_and_predict_files_of_16_bits(tool, tmp_path):
    for name in ('train', 'val', 'trainannot', 'valannot'):
        (tmp_path / name).mkdir()
        for index in range(4):
            values_HW = np.array([[255, 299], [65535, index]], np.uint16).repeat(32, axis=0).repeat(48, axis=1)
            picture = values_HW if name.endswith('annot') else np.dstack([(values_HW % 251).astype(np.uint8)] * 3)
            cv2.imwrite(str(tmp_path / name / f'{index}.png'), picture)
    config = tmp_path / 'many.py'
    config.write_text(MANY.format(base=REPO / 'configs/baseline/bisenetv2_camvid.py', root=tmp_path))
    options = ['runner.max_iters=2', 'checkpoint_config.interval=2', 'evaluation.interval=2', 'expect=None', *SMALL]
    run = tmp_path / 'run'
    assert tool('train').main([str(config), '--work-dir', str(run), '--options', *options]) in (0, None)
    metrics = json.loads((run / 'summary.json').read_text())['metrics']
    assert {key for key in metrics if key.startswith('IoU')} == {f'IoU.c{index}' for index in (0, 1, 2, 3, 255, 299)}
    argv = [str(run / 'iter_2.pth'), str(tmp_path / 'val' / '0.png'), '--out', str(tmp_path / 'found')]
    assert tool('predict').main([*argv, '--format', 'png']) in (0, None)
    (written,) = (tmp_path / 'found').rglob('labels/*.png')
    label_HW = cv2.imread(str(written), cv2.IMREAD_UNCHANGED)
    assert (label_HW.dtype, label_HW.shape) == (np.uint16, (64, 96))


@pytest.mark.slow
def test_fifteen_images_of_camvid_teach_its_large_classes(tool, camvid, tmp_path):
    """The three validation frames follow one of the training sequences; what knows no image has an mIoU of 0.17.

    A quarter of this schedule, in fp32, had 0.34 and a road of 0.78.
    """
    config = str(REPO / 'configs/baseline/bisenetv2_camvid.py')
    argv = [config, '--work-dir', str(tmp_path / 'run'), '--options', f'data.data_root={camvid}']
    assert tool('train').main(argv) in (0, None)  # beats the label that knows no image by the config's margin
    metrics = json.loads((tmp_path / 'run' / 'summary.json').read_text())['metrics']
    assert metrics['mIoU'] > 0.4
    assert metrics['IoU.road'] > 0.75
