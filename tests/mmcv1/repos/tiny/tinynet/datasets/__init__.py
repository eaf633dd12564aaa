import random

import mmcv
import numpy as np
import torch
from mmcv.parallel import DataContainer as DC
from mmcv.utils import Registry, build_from_cfg, print_log
from torch.utils.data import Dataset

DATASETS = Registry('dataset')
PIPELINES = Registry('pipeline')


@PIPELINES.register_module()
class LoadAnnotations:  # mmopt has one of this name as well
    def __call__(self, results):
        results['gt'] = (results['img'][..., 0] > 128).astype(np.int64)
        return results


@PIPELINES.register_module()
class RandomFlip:
    def __init__(self, prob):
        self.prob = prob

    def __call__(self, results):
        if np.random.rand() < self.prob:
            results['img'] = mmcv.imflip(results['img'])
        results['img'] = results['img'] * (1 + 0.1 * random.random() + 0.1 * torch.rand(1).item())
        return results


@PIPELINES.register_module()
class Pack:
    def __init__(self, test=False):
        self.test = test

    def __call__(self, results):
        img = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)).astype(np.float32)) / 255
        metas = DC(dict(ori_shape=results['img'].shape, index=results['index']), cpu_only=True)
        if self.test:
            return dict(img=[img], img_metas=[metas])
        return dict(
            img=DC(img, stack=True),
            img_metas=metas,
            gt=DC(torch.from_numpy(results['gt'])[None], stack=True, padding_value=255),
        )


@DATASETS.register_module()
class TinyDataset(Dataset):
    CLASSES = ('dark', 'bright')
    PALETTE = [[0, 0, 0], [255, 255, 255]]

    def __init__(self, pipeline, num=12, with_flag=False, test_mode=False, upright=False):
        self.num = num
        self.test_mode = test_mode
        self.upright = upright
        self.pipeline = [build_from_cfg(step, PIPELINES) for step in pipeline]
        if with_flag:
            self.flag = np.array([index % 3 == 0 for index in range(num)]).astype(np.uint8)

    def __len__(self):
        return self.num

    def __getitem__(self, index):
        size = (8, 12) if index % 3 == 0 and not self.upright else (12, 8)
        img = np.random.RandomState(index).randint(0, 256, (*size, 3)).astype(np.float32)
        results = dict(img=img, index=index)
        for step in self.pipeline:
            results = step(results)
        return results

    def evaluate(self, results, metric='mean', logger=None):
        assert self.test_mode
        assert len(results) == len(self)
        print_log(f'evaluate {metric}', logger)
        return {metric: float(np.mean([result.mean() for result in results]))}

    def pre_eval(self, results, indices):
        return [(index, result.mean()) for index, result in zip(indices, results, strict=True)]

    def format_results(self, results, prefix, indices=None):
        for index, result in enumerate(results):
            mmcv.dump(result.tolist(), f'{prefix}/{index}.json')


def build_dataset(cfg, default_args=None):
    return build_from_cfg(cfg, DATASETS, default_args)
