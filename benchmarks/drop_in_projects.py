"""Three projects of OpenMMLab's libraries for :mod:`drop_in`: a config of each, and small made-up data for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

__all__ = ['NUM_TRAIN', 'NUM_VAL', 'PROJECTS', 'TORCHVISION', 'WHEELS', 'Project', 'noise', 'rng_of', 'saving']

WHEELS = (
    'mmsegmentation==1.2.2', 'mmpretrain==1.2.0', 'mmdet==3.3.0', 'mmcv-lite==2.1.0', 'terminaltables==3.1.10',
    'prettytable==3.18.0', 'wcwidth==0.9.4', 'ftfy==6.3.1', 'regex', 'einops==0.8.2', 'mat4py==0.6.0', 'scipy==1.17.1',
    'model-index==0.1.11', 'ordered-set==4.1.0', 'importlib_metadata==8.7.0', 'zipp', 'six', 'rich==15.0.0',
)  # fmt: skip
"""The libraries and what they import beside the packages that mmopt brings."""
TORCHVISION = 'torchvision==0.28.0'
"""For MMPretrain: the one for torch 2.13."""

NUM_TRAIN, NUM_VAL = 16, 4


@dataclass(frozen=True)
class Project:
    """A library, one of its configs, and what the config differs in.

    Attributes:
        base: The config, below the library's ``.mim/configs``.
        child: What the child config says beside its base: paths of the data, a narrow model, a short run. ``{data}`` is
            the data's folder.
        make_data: Writes the data into a folder.
        torchvision: Whether the library imports it.
        wheels: What pip installs for it alone, before :data:`WHEELS`.
        stubs: Modules that stand for others, which cannot be installed: path -> text.
    """

    name: str
    base: str
    child: str
    make_data: Callable[[Path], None]
    torchvision: bool = False
    wheels: tuple[str, ...] = ()
    stubs: Mapping[str, str] = field(default_factory=dict)


def rng_of(name: str) -> np.random.Generator:
    """Return a generator that depends on a name alone."""
    return np.random.default_rng(sum(map(ord, name)))


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a dark image of noise."""
    return rng.integers(0, 96, (height, width, 3), dtype=np.uint8)


def _segmentation(folder: Path) -> None:
    """Bright curves on noise, in the layout of CHASE-DB1."""
    rng = rng_of('segmentation')
    for split, count in (('training', NUM_TRAIN), ('validation', NUM_VAL)):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            image, mask = noise(rng, 160, 192), np.zeros((160, 192), np.uint8)
            for _ in range(3):
                start, stop = (tuple(int(value) for value in rng.integers(0, 160, 2)) for _ in range(2))
                cv2.line(mask, start, stop, 1, 5)
            image[mask == 1] = (80, 200, 120)
            cv2.imwrite(str(folder / 'images' / split / f'{index:02d}.png'), image)
            cv2.imwrite(str(folder / 'annotations' / split / f'{index:02d}_1stHO.png'), mask)


def _classification(folder: Path) -> None:
    """Noise that is brighter in one color, in one folder per class."""
    rng = rng_of('classification')
    for split, count in (('train', NUM_TRAIN), ('val', NUM_VAL)):
        for label in range(2):
            (folder / split / f'class_{label}').mkdir(parents=True)
            for index in range(count // 2):
                image = noise(rng, 96, 96)
                image[..., 2 * label] += 120
                cv2.imwrite(str(folder / split / f'class_{label}' / f'{index:02d}.png'), image)


def _detection(folder: Path) -> None:
    """Bright boxes of two classes on noise, in COCO's format."""
    rng = rng_of('detection')
    for split, count in (('train', NUM_TRAIN), ('val', NUM_VAL)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            image = noise(rng, 128, 160)
            for _ in range(2):
                width, height = (int(value) for value in rng.integers(36, 60, 2))
                left, top = int(rng.integers(0, 160 - width)), int(rng.integers(0, 128 - height))
                label = int(rng.integers(1, 3))
                image[top : top + height, left : left + width, label] = 230
                annotations.append(
                    dict(
                        id=len(annotations) + 1, image_id=index, category_id=label, bbox=[left, top, width, height],
                        area=width * height, iscrowd=0,
                    )
                )  # fmt: skip
            cv2.imwrite(str(folder / split / f'{index:02d}.png'), image)
            images.append(dict(id=index, file_name=f'{index:02d}.png', width=160, height=128))
        categories = [dict(id=1, name='green'), dict(id=2, name='red')]
        text = json.dumps(dict(images=images, annotations=annotations, categories=categories))
        (folder / f'{split}.json').write_text(text, encoding='utf-8')


def saving(interval: int, by_epoch: bool) -> str:
    """Return the end of a child config: when it saves, and the seed."""
    return f"""
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval={interval}, by_epoch={by_epoch}))
randomness = dict(seed=3)
"""


_SEGMENTATION = """
model = dict(
    backbone=dict(base_channels=8),
    decode_head=dict(in_channels=8, channels=8),
    auxiliary_head=dict(in_channels=16, channels=8),
    test_cfg=dict(crop_size=(64, 64), stride=(64, 64)))
_plain = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(192, 160), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
_set = dict(data_root='{data}')
_plain_set = dict(data_root='{data}', pipeline=_plain)
train_dataloader = dict(num_workers=2, dataset=dict(times=4, dataset=_set))
val_dataloader = dict(num_workers=1, dataset=_plain_set)
test_dataloader = val_dataloader
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=8, by_epoch=False)]
train_cfg = dict(max_iters=8, val_interval=8)
"""

_CLASSIFICATION = """
custom_imports = dict(imports=['drop_in_torchvision'])
model = dict(head=dict(num_classes=2, topk=(1,)))
data_preprocessor = dict(num_classes=2)
_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=64), dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs')]
_plain = [
    dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=64, edge='short'), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4, num_workers=2,
    dataset=dict(type='CustomDataset', data_root='{data}/train', pipeline=_pipeline, _delete_=True))
val_dataloader = dict(
    batch_size=2, num_workers=1,
    dataset=dict(type='CustomDataset', data_root='{data}/val', pipeline=_plain, _delete_=True))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = dict(milestones=[1])
train_cfg = dict(max_epochs=2)
"""

_DETECTION = """
model = dict(
    backbone=dict(base_channels=16, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    bbox_head=dict(num_classes=2, in_channels=32, feat_channels=32, stacked_convs=2),
    test_cfg=dict(score_thr=0.005, max_per_img=20))
_meta = dict(classes=('green', 'red'))
_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(160, 128), keep_ratio=True), dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')]
_plain = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(160, 128), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
train_dataloader = dict(
    batch_size=4, dataset=dict(
        metainfo=_meta, data_root='{data}', ann_file='train.json', data_prefix=dict(img='train'), pipeline=_pipeline))
val_dataloader = dict(
    num_workers=1, dataset=dict(
        metainfo=_meta, data_root='{data}', ann_file='val.json', data_prefix=dict(img='val'), pipeline=_plain))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/val.json')
test_evaluator = val_evaluator
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type='MultiStepLR', begin=0, end=2, by_epoch=True, milestones=[1], gamma=0.1)]
train_cfg = dict(max_epochs=2)
"""

PROJECTS = (
    Project(
        'mmseg', 'unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py',
        _SEGMENTATION + saving(4, by_epoch=False), _segmentation,
    ),
    Project(
        'mmpretrain', 'resnet/resnet18_8xb32_in1k.py',
        _CLASSIFICATION + saving(1, by_epoch=True), _classification, torchvision=True,
    ),
    Project(
        'mmdet', 'retinanet/retinanet_r18_fpn_1x_coco.py',
        _DETECTION + saving(1, by_epoch=True), _detection,
    ),
)  # fmt: skip
