"""A library that knows nothing of mmopt, for its tools: scope, data set, pipeline, samples, model and visualizer."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import Registry, root

__all__ = ['BLUE_BGR', 'library_config', 'shapelib', 'write', 'write_images']

REGISTRY = """
from mmengine import registry as root
from mmengine.registry import Registry

DATASETS, DATA_SAMPLERS, METRICS, MODELS, TRANSFORMS, VISUALIZERS = (
    Registry(name, parent=getattr(root, name), scope='shapelib', locations=['shapelib.parts'])
    for name in ('DATASETS', 'DATA_SAMPLERS', 'METRICS', 'MODELS', 'TRANSFORMS', 'VISUALIZERS')
)
"""
PARTS = """
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import BatchSampler

from shapelib.registry import DATASETS, DATA_SAMPLERS, METRICS, MODELS, TRANSFORMS, VISUALIZERS

@DATASETS.register_module()
class Shapes(BaseDataset):
    METAINFO = dict(classes=('shape',))

    def load_data_list(self):
        paths = sorted(Path(self.data_root).iterdir())
        return [dict(img_path=str(path), instances=[dict(bbox=[2, 2, 10, 10])]) for path in paths]

DATA_SAMPLERS.register_module(module=BatchSampler, name='InPairs')

@TRANSFORMS.register_module()
class Load:
    def __call__(self, results):
        return dict(results, img=cv2.imread(results['img_path']), boxes=[box['bbox'] for box in results['instances']])

@TRANSFORMS.register_module()
class LoadShapeAnnotations:
    def __call__(self, results):
        return dict(results, truth=results['instances'][0])

@TRANSFORMS.register_module()
class Fit:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, results):
        height, width = results['img'].shape[:2]
        share = min(self.scale[0] / width, self.scale[1] / height)
        return dict(results, img=cv2.resize(results['img'], (round(share * width), round(share * height))))

@TRANSFORMS.register_module()
class SideBySide:
    def get_indexes(self, dataset):
        return [np.random.randint(len(dataset))]

    def __call__(self, results):
        assert len(results['mix_results']) == 1
        return dict(results, img=np.hstack([results['img'], results['mix_results'][0]['img']]))

@DATASETS.register_module()
class Mixed:
    '''A wrapper with a pipeline of its own, as MMDetection has one.'''

    def __init__(self, dataset, pipeline):
        self.dataset = DATASETS.build(dataset)

@TRANSFORMS.register_module()
class NeedsLidar:
    def __call__(self, results):
        return results['lidar_points']

@TRANSFORMS.register_module()
class Pack:
    def __call__(self, results):
        shape = cv2.imread(results['img_path']).shape
        sample = BaseDataElement(metainfo=dict(img_path=results['img_path'], ori_shape=shape))
        sample.gt_instances = InstanceData(bboxes=torch.tensor(results['boxes'], dtype=torch.float32))
        return dict(inputs=torch.from_numpy(results['img'].transpose(2, 0, 1).copy()), data_samples=sample)

@MODELS.register_module()
class Finder(BaseModel):
    def __init__(self, channels, gives='positions', data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.gives = gives
        self.rate = torch.linspace(0, 1, 3)[1].item()  # no value on the meta device
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.SyncBatchNorm(channels)
        self.out = nn.Linear(channels, 4)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        boxes = self.out(self.norm(self.conv(inputs)).relu().mean((2, 3)))
        if mode == 'loss':
            wanted = torch.stack([sample.gt_instances.bboxes[0] for sample in data_samples])
            return dict(loss_box=(boxes - wanted).abs().mean())
        if mode == 'predict':
            for sample, box in zip(data_samples, boxes):
                getattr(self, self.gives)(sample, box)
            return data_samples
        return boxes

    def positions(self, sample, box):
        sample.pred_instances = InstanceData(bboxes=box[None])

    def detections(self, sample, box):
        masks = torch.zeros(2, *sample.ori_shape[:2], dtype=torch.bool)
        masks[0, :2, 1:3] = masks[1, 0, 0] = True
        boxes = torch.stack([box.clamp(0, 8), box.new_tensor([1, 2, 9, 8])])
        sample.pred_instances = InstanceData(
            bboxes=boxes, scores=box.new_tensor([0.75, 0.25]), labels=torch.zeros(2, dtype=torch.long), masks=masks)

    def classmap(self, sample, box):
        height, width = sample.ori_shape[:2]
        sample.seg_logits = PixelData(data=torch.zeros(40, height, width))
        sample.pred_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.long))

    def label(self, sample, box):
        sample.set_field(box.new_tensor([0.9]), 'pred_score')
        sample.set_field(torch.tensor([0]), 'pred_label')

    def depth(self, sample, box):
        sample.pred_depth_map = PixelData(data=torch.full((1, 200, 200), 1.5))

    def nothing(self, sample, box):
        sample.pred_value = float('nan')

@METRICS.register_module()
class Distance(BaseMetric):
    default_prefix = 'shapes'

    def process(self, data_batch, data_samples):
        self.results += [
            float((s['pred_instances']['bboxes'] - s['gt_instances']['bboxes']).abs().mean()) for s in data_samples
        ]

    def compute_metrics(self, results):
        return dict(distance=sum(results) / len(results))

@VISUALIZERS.register_module()
class ShapeVisualizer(Visualizer):
    def add_datasample(self, name, image, data_sample=None, draw_gt=True, draw_pred=True, show=False, step=0):
        assert self.dataset_meta['classes'] in (('shape',), ('round',))
        image = image.copy()
        if draw_pred and 'pred_instances' in data_sample:
            image[-2:] = 255
        image[:2] = 7 * len(data_sample.gt_instances.bboxes)
        self.add_image(name, image, step)
"""
BLUE_BGR = (200, 0, 0)


@contextmanager
def shapelib(folder: Path) -> Iterator[None]:
    """Write the library into a folder, from which it can be imported, and take it away again."""
    (folder / 'shapelib').mkdir()
    for name, text in (('__init__', ''), ('registry', REGISTRY), ('parts', PARTS)):
        (folder / 'shapelib' / f'{name}.py').write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv('PYTHONPATH', str(folder), prepend=':')  # for the estimate, a process of its own
        yield
    for name in [name for name in sys.modules if name.partition('.')[0] == 'shapelib']:
        del sys.modules[name]
    for registry in vars(root).values():
        if isinstance(registry, Registry):
            registry.children.pop('shapelib', None)


def write_images(folder: Path) -> Path:
    """Write six blue images of unequal sizes: their batch is a list until it is padded."""
    for index in range(6):
        cv2.imwrite(str(folder / f'{index}.png'), np.full((16 + 4 * index, 32, 3), BLUE_BGR, np.uint8))
    return folder


def library_config(folder: Path, work_dir: Path, **changes) -> dict:
    """Return a config as a library writes it: no collate_fn, no sampler of mmopt's, a preprocessor at the top level."""
    pipeline = [dict(type='Load'), dict(type='Fit', scale=(32, 24)), dict(type='Pack')]
    data = dict(type='Shapes', data_root=str(folder), pipeline=pipeline)
    loader = dict(batch_size=2, num_workers=0, dataset=data, sampler=dict(type='DefaultSampler', shuffle=False))
    preprocessor = dict(type='ImgDataPreprocessor', mean=[9.0] * 3, std=[50.0] * 3, bgr_to_rgb=True, pad_size_divisor=8)
    cfg = dict(
        default_scope='shapelib',
        data_preprocessor=preprocessor,
        model=dict(type='Finder', channels=4),
        train_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=True)),
        val_dataloader=loader,
        val_evaluator=dict(type='Distance'),
        test_dataloader=loader,
        test_evaluator=dict(type='Distance'),
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
        val_cfg=dict(),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        visualizer=dict(type='ShapeVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        work_dir=str(work_dir),
    )
    return cfg | changes


def write(path: Path, cfg: dict) -> Path:
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.items()) + '\n')
    return path
