"""One training step of base models of mmcv 1.x's packages on random data, for benchmarks/mmcv1_part.py."""

import inspect
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmopt.engine.loops.step import sum_losses
from mmopt.mmcv1.adapt.find import registry_of
from mmopt.mmcv1.adapt.model import adapt_model

STEPPED = dict(
    mmseg=(
        *('fcn_r50-d8', 'pspnet_r50-d8', 'deeplabv3plus_r50-d8', 'bisenetv1_r18-d32', 'bisenetv2', 'fast_scnn'),
        *('fcn_unet_s5-d16', 'segformer_mit-b0', 'stdc', 'icnet_r50-d8', 'cgnet', 'erfnet_fcn'),
    ),
    mmcls=(
        *('resnet18', 'mobilenet_v2_1x', 'shufflenet_v2_1x', 'vgg11', 'swin_transformer/tiny_224'),
        'convnext/convnext-tiny',
    ),
    mmdet=(
        *('retinanet_r50_fpn', 'faster_rcnn_r50_fpn', 'mask_rcnn_r50_fpn', 'cascade_rcnn_r50_fpn', 'rpn_r50_fpn'),
        'fast_rcnn_r50_fpn',
    ),
)
"""Package -> its files in ``_base_/models``."""


def step_all(package: str, packages: Path) -> dict[str, Any]:
    """Take one step of each model, as mmopt takes it and as mmcv 1.x does, and compare their gradients."""
    failures: dict[str, str] = {}
    names = STEPPED[package]
    same, without_gradient = 0, {}
    for name in names:
        try:
            ours, literal = (_gradients(package, name, packages, adapted=adapted) for adapted in (True, False))
        except Exception as error:
            failures[name] = f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
            continue
        same += all(_equal(value, literal[key]) for key, value in ours.items())
        if missing := [key for key, value in ours.items() if value is None]:
            without_gradient[name] = missing
    result = dict(models=len(names), stepped=len(names) - len(failures), gradients_bit_equal=same, failures=failures)
    return result | (dict(parameters_without_gradient=without_gradient) if without_gradient else {})


def _equal(ours: torch.Tensor | None, literal: torch.Tensor | None) -> bool:
    return torch.equal(ours, literal) if ours is not None and literal is not None else ours is literal


def without_downloads(part: Any, *, keep_init: bool = False) -> Any:
    """Leave out pretrained weights, wherever a config names them; those of ``init_cfg`` load only when asked to."""
    if isinstance(part, Mapping):
        kept = {
            key: None if key == 'pretrained' and value else without_downloads(value, keep_init=keep_init)
            for key, value in part.items()
        }
        if not keep_init and isinstance(kept.get('init_cfg'), Mapping) and kept['init_cfg'].get('type') == 'Pretrained':
            kept['init_cfg'] = None
        return kept
    if isinstance(part, list | tuple):
        return type(part)(without_downloads(item, keep_init=keep_init) for item in part)
    return part


def _in_one_process(part: Any) -> Any:
    """Let BatchNorm take the statistics of its own process."""
    if isinstance(part, Mapping):
        kept = {key: _in_one_process(value) for key, value in part.items()}
        return kept | (dict(type='BN') if str(kept.get('type', '')).endswith('SyncBN') else {})
    return type(part)(_in_one_process(item) for item in part) if isinstance(part, list | tuple) else part


def base_model(package: str, name: str, packages: Path) -> Any:
    """Build a file of ``_base_/models`` with random weights, as the package itself does."""
    config = Config.fromfile(packages / package / '.mim/configs/_base_/models' / f'{name}.py').model
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmengine'):
        plain = Config(dict(model=_in_one_process(without_downloads(config)))).model
        model = registry_of(config.type, 'model').build(plain)
    model.init_weights()
    return model


def _gradients(package: str, name: str, packages: Path, *, adapted: bool) -> dict[str, torch.Tensor | None]:
    """Take a step; returns the gradient of each parameter that is trained, None where it has none.

    Args:
        adapted: By mmopt's adapter; else by the package's own ``train_step``, as mmcv 1.x's runner calls it.
    """
    model = base_model(package, name, packages)
    model.train()
    batch = BATCHES[package]()
    taken = inspect.signature(model.forward_train).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        batch = {key: value for key, value in batch.items() if key in taken}
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(1)
    outputs = adapt_model(model)(**batch, mode='loss') if adapted else model.train_step(batch, None)
    loss = sum_losses(outputs)[0] if adapted else outputs['loss']
    assert torch.isfinite(loss), f'the loss is {loss}'
    loss.backward()
    return {key: param.grad for key, param in model.named_parameters() if param.requires_grad}


def _segmentation() -> dict[str, Any]:
    torch.manual_seed(2)
    size = (128, 128)
    return dict(img=torch.rand(2, 3, *size), img_metas=_metas(size), gt_semantic_seg=torch.randint(0, 2, (2, 1, *size)))


def _classification() -> dict[str, Any]:
    torch.manual_seed(2)
    return dict(img=torch.rand(2, 3, 224, 224), gt_label=torch.tensor([1, 2]))


def _detection(size: tuple[int, int] = (128, 160)) -> dict[str, Any]:
    from mmdet.core import BitmapMasks

    torch.manual_seed(2)
    boxes = torch.tensor([[10.0, 10, 70, 60], [60, 40, 150, 110]])
    masks = np.zeros((2, *size), np.uint8)
    masks[0, 10:60, 10:70] = masks[1, 40:110, 60:150] = 1
    return dict(
        img=torch.rand(2, 3, *size),
        img_metas=_metas(size),
        gt_bboxes=[boxes, boxes.clone()],
        gt_labels=[torch.tensor([1, 2]), torch.tensor([3, 4])],
        gt_masks=[BitmapMasks(masks, *size) for _ in range(2)],
        proposals=[boxes + 3, boxes - 3],
    )


def _metas(size: tuple[int, int]) -> list[dict[str, Any]]:
    shape = (*size, 3)
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=size, filename='', flip=False)
    return [dict(meta, scale_factor=np.ones(4, np.float32)) for _ in range(2)]


BATCHES = dict(mmseg=_segmentation, mmcls=_classification, mmdet=_detection)
"""Package -> a function that makes a batch."""
