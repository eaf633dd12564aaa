"""Tiny models with random weights on the demo data, as checkpoints that know their config."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

import mmopt
from mmopt.apis.config import load_config
from mmopt.apis.run.facts import model_config
from mmopt.datasets.detection.demo import make_demo as make_fred
from mmopt.datasets.segmentation.demo import make_demo as make_street
from mmopt.engine import checkpoint_io
from mmopt.registry import MODELS
from tests.conftest import REPO, forget_mmengine_globals


@dataclass(frozen=True)
class Trained:
    """A model and the data of its demo."""

    config: str
    checkpoint: str
    options: list[str]
    pictures: list[str]


def _save(name: str, options: list[str], folder: Path, pictures: list[Path], channels: int = 3) -> Trained:
    config = str(REPO / 'configs' / 'demo' / f'{name}.py')
    torch.manual_seed(0)
    cfg = load_config(config, options=options)
    init_default_scope('mmopt')
    model = MODELS.build(model_config(cfg))
    with torch.no_grad():  # scores and classes that differ from place to place
        for _ in range(20):
            model(torch.randn(4, channels, 64, 96), mode='tensor')  # statistics for the normalization
        for name_of, parameter in model.named_parameters():
            if 'head' in name_of and name_of.endswith('bias'):
                parameter.zero_()
    path = folder / 'weights.pth'
    meta = dict(iter=1, epoch=1, mmopt_version=mmopt.__version__, precision='fp32', cfg=cfg.pretty_text)
    meta['dataset_meta'] = dict(classes=['drone']) if 'yolo' in name else None
    checkpoint_io.save(path, dict(meta=meta, state_dict=model.state_dict()))
    forget_mmengine_globals()
    return Trained(config, str(path), options, [str(picture) for picture in pictures])


def make_detector(folder: Path) -> Trained:
    """Make a detector of drones, which finds a hundred boxes in everything."""
    root = make_fred(folder / 'fred', 8, 8, (90, 160)).out
    options = [
        f'data.data_root={root}', 'model.backbone.width=0.125', 'model.score_threshold=0.0',
        'data.test_dataloader.samples_per_gpu=4', 'data.workers_per_gpu=0',
    ]  # fmt: skip
    listed = json.loads((root / 'annotations' / 'rgb_val.json').read_text())['images']
    return _save('yolov5_fred_rgb', options, folder, [root / image['file_name'] for image in listed])


def make_segmentor(folder: Path) -> Trained:
    """Make a segmentor of streets."""
    root = folder / 'cityscapes'
    make_street(root, 4, 5, (64, 96), say=lambda text: None)
    options = [
        f'data.data_root={root}', 'data.cache=None', 'model.backbone.detail_channels=(8,8,16)',
        'model.backbone.semantic_channels=(4,8,8,16)', 'model.head.in_channels=16', 'model.head.channels=16',
        'data.test_dataloader.samples_per_gpu=2', 'data.workers_per_gpu=0',
    ]  # fmt: skip
    pictures = sorted((root / 'leftImg8bit' / 'val').rglob('*_leftImg8bit.*'))
    return _save('bisenetv2_cityscapes', options, folder, pictures)


def make_fusion(folder: Path) -> Trained:
    """Make a detector of pairs: a picture and the event frame of the same moment, as FRED has them."""
    root = make_fred(folder / 'fred', 8, 8, (90, 160)).out
    branch = dict(type='CSPDarknet', depth=0.33, width=0.125)
    options = [
        f'data.data_root={root}', f'model.backbone.backbones=[{branch!r},{branch!r}]', 'model.score_threshold=0.0',
        'data.test_dataloader.samples_per_gpu=4', 'data.workers_per_gpu=0',
    ]  # fmt: skip
    listed = json.loads((root / 'annotations' / 'fusion_val.json').read_text())['images']
    return _save('yolov5_fred_fusion', options, folder, [root / image['file_name'] for image in listed], channels=6)
