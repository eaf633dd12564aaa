"""What benchmarks/mmcv1_code.py runs: published configs of three packages cut to a size, and made-up data for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

PACKAGES = dict(mmseg='mmsegmentation==0.30.0', mmdet='mmdet==2.28.2', mmcls='mmcls==0.25.0')
"""Package -> what pip downloads."""
THIRD_PARTY = ('scipy', 'terminaltables', 'prettytable', 'wcwidth', 'six')
"""What the packages import beside torch, mmcv and NumPy."""
TRAINED = dict(
    fast_scnn=('mmseg', 'fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py'),
    resnet18=('mmcls', 'resnet/resnet18_8xb32_in1k.py'),
    retinanet_r18=('mmdet', 'retinanet/retinanet_r18_fpn_1x_coco.py'),
)
"""Case -> package and its published config."""
NUM_IMAGES = 12
_SIZES = {(2048, 1024): (192, 96), (512, 1024): (64, 96), (1333, 800): (192, 128), (256, -1): (72, -1), 224: 64}


def make_data(folder: Path) -> None:
    """Write Cityscapes, ImageNet and COCO in small, of random rectangles."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(NUM_IMAGES):
        wide = index % 4 != 0
        height, width = (96, 192) if wide else (192, 96)
        img, label, boxes = _rectangles(rng, height, width)
        split = 'train' if index < NUM_IMAGES - 4 else 'val'
        city = f'{split}/town/town_{index:06d}_000000'
        _write(folder / f'cityscapes/leftImg8bit/{city}_leftImg8bit.png', cv2.resize(img, (192, 96)))
        label = cv2.resize(label, (192, 96), interpolation=cv2.INTER_NEAREST)
        _write(folder / f'cityscapes/gtFine/{city}_gtFine_labelTrainIds.png', label)
        _write(folder / f'imagenet/{split}/n{index % 4:08d}/{index}.JPEG', img)
        _write(folder / f'coco/{index}.jpg', img)
        images.append(dict(id=index, file_name=f'{index}.jpg', height=height, width=width))
        for x, y, w, h, kind in boxes:
            box = [int(value) for value in (x, y, w, h)]
            entry = dict(id=len(annotations) + 1, image_id=index, category_id=kind, bbox=box, area=box[2] * box[3])
            annotations.append(dict(entry, iscrowd=0, segmentation=[]))
    categories = [dict(id=place + 1, name=name) for place, name in enumerate(('person', 'bicycle', 'car'))]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'coco/annotations.json').write_text(json.dumps(content), encoding='utf-8')


def _rectangles(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray, list]:
    img = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
    label = np.zeros((height, width), np.uint8)
    boxes = []
    for kind in (1, 2, 3):
        w, h = rng.integers(24, 64, 2)
        x, y = rng.integers(0, width - w), rng.integers(0, height - h)
        img[y : y + h, x : x + w] += np.uint8(50 * kind)
        label[y : y + h, x : x + w] = kind
        boxes.append((x, y, w, h, kind))
    return img, label, boxes


def _write(path: Path, img: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), img)


def _cut(value: Any) -> Any:
    """Replace sizes of images, wherever they stand."""
    if isinstance(value, Mapping):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        key = tuple(value) if all(isinstance(item, int) for item in value) else None
        return _SIZES[key] if key in _SIZES else type(value)(_cut(item) for item in value)
    return _SIZES.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def cut_config(case: str, packages: Path, data: Path, out: Path, *, exact: bool = False) -> Path:
    """Write a published config with small images, no downloads, and 5 iterations.

    Args:
        case: A key of :data:`TRAINED`.
        packages: Where the wheels are unpacked.
        data: From :func:`make_data`.
        out: Folder to write to.
        exact: Without what depends on the other samples of a batch (batch statistics) and on chance (dropout).

    Returns:
        The file.
    """
    package, name = TRAINED[case]
    cfg = Config.fromfile(packages / package / '.mim' / 'configs' / name, import_custom_modules=False)
    new: dict[str, Any] = {key: _cut(value) if key == 'data' else value for key, value in cfg.to_dict().items()}
    new['data'] |= dict(samples_per_gpu=4, workers_per_gpu=0, persistent_workers=None)
    new['log_config'] = dict(interval=1, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
    new['runner'] = dict(type='IterBasedRunner', max_iters=5)
    new['checkpoint_config'] = dict(interval=3, by_epoch=False)
    new |= dict(seed=0, load_from=None, resume_from=None, workflow=[('train', 1)])
    globals()[f'_adapt_{case}'](new, data, exact)
    path = out / f'{case}{"_exact" if exact else ""}.py'
    path.parent.mkdir(parents=True, exist_ok=True)
    Config(new).dump(path)
    return path


def _adapt_fast_scnn(cfg: dict[str, Any], data: Path, exact: bool) -> None:
    norm = dict(type='GN', num_groups=2) if exact else dict(type='BN', momentum=0.01)
    model = cfg['model']
    for part in (model['backbone'], model['decode_head'], *model['auxiliary_head']):
        part['norm_cfg'] = norm
        if exact and part is not model['backbone']:
            part['dropout_ratio'] = 0.0
    for split in ('train', 'val', 'test'):
        cfg['data'][split]['data_root'] = str(data / 'cityscapes')
    cfg['evaluation'] = dict(interval=5, metric='mIoU', pre_eval=True)
    cfg['lr_config'] = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)


def _adapt_resnet18(cfg: dict[str, Any], data: Path, exact: bool) -> None:
    for split in ('train', 'val', 'test'):
        prefix = str(data / 'imagenet' / ('train' if split == 'train' else 'val'))
        cfg['data'][split] |= dict(data_prefix=prefix, ann_file=None, classes=list('abcd'))
    cfg['model']['head'] |= dict(num_classes=4, topk=(1,))
    if exact:
        cfg['model']['backbone']['norm_eval'] = True
    cfg['evaluation'] = dict(interval=5, metric='accuracy', metric_options=dict(topk=(1,)))
    cfg['lr_config'] = dict(policy='step', step=[30], by_epoch=False)


def _adapt_retinanet_r18(cfg: dict[str, Any], data: Path, exact: bool) -> None:
    del exact  # its BatchNorm is frozen and it has no dropout
    cfg['model']['backbone']['init_cfg'] = None
    cfg['model']['bbox_head']['num_classes'] = 3
    for split in ('train', 'val', 'test'):
        files = dict(ann_file=str(data / 'coco/annotations.json'), img_prefix=str(data / 'coco'))
        cfg['data'][split] |= dict(files, classes=('person', 'bicycle', 'car'))
    cfg['evaluation'] = dict(interval=5, metric='bbox')
    cfg['lr_config'] = dict(
        policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8], by_epoch=False
    )


def literal_lr(case: str, base_lr: float, iteration: int) -> float:
    """Return the learning rate of an iteration by mmcv 1.x's formulas, written out."""
    if case == 'fast_scnn':
        return (base_lr - 1e-4) * (1 - iteration / 5) ** 0.9 + 1e-4
    if case == 'retinanet_r18':
        return base_lr * (1 - (1 - iteration / 500) * (1 - 0.001))
    return base_lr
