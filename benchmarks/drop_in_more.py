"""Four more projects of OpenMMLab's libraries for :mod:`drop_in`: poses, actions, rotated boxes, texts."""

import json
from pathlib import Path

import cv2
import numpy as np
from drop_in_projects import NUM_TRAIN, NUM_VAL, Project, noise, rng_of, saving

__all__ = ['MORE']

_SPLITS = (('train', NUM_TRAIN), ('val', NUM_VAL))


def _poses(folder: Path) -> None:
    """Seventeen bright dots on noise, in COCO's format."""
    rng = rng_of('poses')
    for split, count in _SPLITS:
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            image = noise(rng, 128, 96)
            points = np.stack([rng.integers(20, 76, 17), rng.integers(20, 108, 17), np.full(17, 2)], axis=1)
            for x, y, _ in points.tolist():
                cv2.circle(image, (x, y), 3, (60, 220, 90), -1)
            cv2.imwrite(str(folder / split / f'{number:02d}.png'), image)
            images.append(dict(id=number, file_name=f'{number:02d}.png', width=96, height=128))
            annotations.append(
                dict(
                    id=number, image_id=number, category_id=1, bbox=[10, 10, 76, 108], area=8208, iscrowd=0,
                    num_keypoints=17, keypoints=points.ravel().tolist(),
                )
            )  # fmt: skip
        text = json.dumps(dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')]))
        (folder / f'{split}.json').write_text(text, encoding='utf-8')


def _clips(folder: Path) -> None:
    """Six frames of noise that is brighter in one color."""
    rng = rng_of('clips')
    for split, count in _SPLITS:
        lines = []
        for index in range(count):
            name = f'{split}_{index:02d}'
            (folder / 'frames' / name).mkdir(parents=True)
            for frame in range(1, 7):
                image = noise(rng, 64, 80)
                image[..., 2 * (index % 2)] += 100
                cv2.imwrite(str(folder / 'frames' / name / f'img_{frame:05d}.jpg'), image)
            lines.append(f'{name} 6 {index % 2}\n')
        (folder / f'{split}.txt').write_text(''.join(lines), encoding='utf-8')


def _rotated(folder: Path) -> None:
    """A bright rotated box on noise, in DOTA's format."""
    rng = rng_of('rotated')
    for split, count in _SPLITS:
        (folder / split / 'images').mkdir(parents=True)
        (folder / split / 'annfiles').mkdir()
        for index in range(count):
            image = noise(rng, 128, 128)
            center = (float(rng.integers(40, 88)), float(rng.integers(40, 88)))
            corners = cv2.boxPoints((center, (60.0, 24.0), float(rng.integers(0, 90))))
            cv2.fillPoly(image, [corners.astype(np.int32)], (60, 220, 90))
            cv2.imwrite(str(folder / split / 'images' / f'{index:02d}.png'), image)
            numbers = ' '.join(f'{value:.1f}' for value in corners.ravel())
            (folder / split / 'annfiles' / f'{index:02d}.txt').write_text(f'{numbers} plane 0\n', encoding='utf-8')


def _texts(folder: Path) -> None:
    """Four digits in dark on light."""
    rng = rng_of('texts')
    for split, count in _SPLITS:
        (folder / split).mkdir(parents=True)
        entries = []
        for index in range(count):
            image = np.full((40, 120, 3), 230, np.uint8)
            text = f'{int(rng.integers(0, 9999)):04d}'
            cv2.putText(image, text, (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, (20, 20, 20), 2)
            cv2.imwrite(str(folder / split / f'{index:02d}.png'), image)
            entries.append(dict(img_path=f'{split}/{index:02d}.png', instances=[dict(text=text)]))
        metainfo = dict(dataset_type='TextRecogDataset', task_name='textrecog')
        (folder / f'{split}.json').write_text(json.dumps(dict(metainfo=metainfo, data_list=entries)), encoding='utf-8')


_POSES = """
custom_imports = dict(imports=['drop_in_torchvision'])
codec = dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=2)
model = dict(backbone=dict(widen_factor=0.25, init_cfg=None), head=dict(in_channels=1280, decoder=codec))
_load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
_train = [
    *_load, dict(type='RandomFlip', direction='horizontal'), dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=(64, 64)), dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')]
_val = [*_load, dict(type='TopdownAffine', input_size=(64, 64)), dict(type='PackPoseInputs')]
train_dataloader = dict(batch_size=4, num_workers=2, dataset=dict(
    data_root='{data}', ann_file='train.json', data_prefix=dict(img='train/'), pipeline=_train))
val_dataloader = dict(batch_size=2, num_workers=1, dataset=dict(
    data_root='{data}', ann_file='val.json', bbox_file=None, data_prefix=dict(img='val/'), pipeline=_val))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=1)
"""

_ACTIONS = """
custom_imports = dict(imports=['drop_in_torchvision'])
model = dict(backbone=dict(depth=18, pretrained=None), cls_head=dict(num_classes=2, in_channels=512))
_sizes = [dict(type='RawFrameDecode'), dict(type='Resize', scale=(-1, 48)), dict(type='CenterCrop', crop_size=48)]
_pack = [dict(type='FormatShape', input_format='NCHW'), dict(type='PackActionInputs')]
_train = [
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=3), *_sizes, dict(type='Flip', flip_ratio=0.5),
    *_pack]
_val = [dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=3, test_mode=True), *_sizes, *_pack]
_set = dict(type='RawframeDataset', data_prefix=dict(img='{data}/frames'), _delete_=True)
train_dataloader = dict(
    batch_size=4, num_workers=2, dataset=dict(_set, ann_file='{data}/train.txt', pipeline=_train))
val_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(_set, ann_file='{data}/val.txt', pipeline=_val, test_mode=True))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=1)
"""

_ROTATED = """
custom_imports = dict(imports=['drop_in_older_names'])
model = dict(
    backbone=dict(depth=18, base_channels=16, init_cfg=None),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, stacked_convs=2),
    test_cfg=dict(score_thr=0.005, nms_pre=50, max_per_img=20))
_load = dict(type='mmdet.LoadImageFromFile')
_size = dict(type='mmdet.Resize', scale=(128, 128), keep_ratio=True)
_labels = [
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox'))]
_train = [_load, *_labels, _size, dict(type='mmdet.RandomFlip', prob=0.5), dict(type='mmdet.PackDetInputs')]
_val = [
    _load, _size, *_labels,
    dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
_set = dict(data_root='{data}', img_shape=(128, 128))
train_dataloader = dict(batch_size=4, num_workers=2, dataset=dict(
    _set, ann_file='train/annfiles/', data_prefix=dict(img_path='train/images/'), pipeline=_train))
val_dataloader = dict(num_workers=1, dataset=dict(
    _set, ann_file='val/annfiles/', data_prefix=dict(img_path='val/images/'), pipeline=_val))
test_dataloader = val_dataloader
val_cfg = val_dataloader = val_evaluator = None  # DOTAMetric spawns processes, which have no extension of mmcv
train_cfg = dict(max_epochs=2, val_interval=1)
"""

_TEXTS = """
custom_imports = dict(imports=['drop_in_older_names', 'drop_in_torchvision'])
_set = dict(type='OCRDataset', data_root='{data}', _delete_=True)
train_dataloader = dict(
    batch_size=4, num_workers=2, dataset=dict(_set, ann_file='train.json', pipeline=_base_.train_pipeline))
val_dataloader = dict(
    num_workers=1, dataset=dict(_set, ann_file='val.json', test_mode=True, pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='WordMetric', mode=['exact', 'ignore_case'])
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=1)
"""

_TEXT_WHEELS = (
    'imgaug', 'lmdb', 'pyclipper', 'rapidfuzz', 'scikit-image', 'shapely', 'tifffile', 'imageio', 'lazy-loader',
    'networkx',
)  # fmt: skip
_OLDER = ('mmdet==3.1.0', 'mmcv-lite==2.0.1')
"""MMRotate refuses later ones, MMOCR later ones of MMDetection, which refuses later ones of mmcv."""

_XTCOCOTOOLS = {
    'xtcocotools/__init__.py': '',
    'xtcocotools/coco.py': 'from pycocotools.coco import *\n',
    'xtcocotools/mask.py': 'from pycocotools.mask import *\n',
    'xtcocotools/cocoeval.py': """
from pycocotools.cocoeval import COCOeval as _COCOeval

class COCOeval(_COCOeval):
    def __init__(self, truth, found, kind, sigmas=None, use_area=True):
        super().__init__(truth, found, kind)
        if sigmas is not None:
            self.params.kpt_oks_sigmas = sigmas
""",
}
"""Its wheels are built for NumPy 1 and fail with 2."""
_DRN = {
    'mmaction/models/localizers/drn/__init__.py': '',
    'mmaction/models/localizers/drn/drn.py': 'DRN = None\n',
}
"""MMAction2's wheel imports this module, and does not have it."""

_OLDER_NAMES = {
    'drop_in_older_names.py': """
import collections
import collections.abc

import numpy as np

collections.Sequence = collections.abc.Sequence

sizes = dict(int=(8, 16, 32, 64), uint=(8, 16, 32, 64), float=(16, 32, 64), complex=(64, 128))
np.sctypes = {kind: [np.dtype(f'{kind}{bits}').type for bits in of_kind] for kind, of_kind in sizes.items()}
""",
}
"""imgaug reads names of NumPy 1, and e2cnn one of Python 3.9."""

MORE = (
    Project(
        'mmpose', 'body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
        _POSES + saving(1, by_epoch=True), _poses, torchvision=True,
        wheels=('mmpose==1.3.2', 'json-tricks', 'munkres'), stubs=_XTCOCOTOOLS,
    ),
    Project(
        'mmaction', 'recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py',
        _ACTIONS + saving(1, by_epoch=True), _clips, torchvision=True, wheels=('mmaction2==1.2.0', 'decord'),
        stubs=_DRN,
    ),
    Project(
        'mmrotate', 'rotated_retinanet/rotated-retinanet-rbox-le90_r50_fpn_1x_dota.py',
        _ROTATED + saving(1, by_epoch=True), _rotated, wheels=('mmrotate==1.0.0rc1', 'e2cnn', *_OLDER),
        stubs=_OLDER_NAMES,
    ),
    Project(
        'mmocr', 'textrecog/crnn/crnn_mini-vgg_5e_mj.py',
        _TEXTS + saving(1, by_epoch=True), _texts, torchvision=True, wheels=('mmocr==1.0.1', *_TEXT_WHEELS, *_OLDER),
        stubs=_OLDER_NAMES,
    ),
)  # fmt: skip
