"""Samplers, collation, loading, image transforms and the data set base that all tasks share."""

from mmopt.datasets.common import mmcv1
from mmopt.datasets.common.base import SeededDataset
from mmopt.datasets.common.collate import stack_collate
from mmopt.datasets.common.decode import decode_file
from mmopt.datasets.common.example import example_dataset, find_transform, image_size
from mmopt.datasets.common.facts import SampleFacts
from mmopt.datasets.common.loading import LoadImageFromFile
from mmopt.datasets.common.sampler import EvaluationSampler, ResumableSampler
from mmopt.datasets.common.transforms import (
    DrawPhotometric,
    Normalize,
    PackInputs,
    PhotoMetricDistortion,
    Resize,
    pack_inputs,
)
from mmopt.datasets.common.wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset

__all__ = [
    'ClassBalancedDataset',
    'ConcatDataset',
    'RepeatDataset',
    'DrawPhotometric',
    'EvaluationSampler',
    'LoadImageFromFile',
    'Normalize',
    'PackInputs',
    'PhotoMetricDistortion',
    'Resize',
    'ResumableSampler',
    'SampleFacts',
    'SeededDataset',
    'decode_file',
    'example_dataset',
    'find_transform',
    'image_size',
    'mmcv1',
    'pack_inputs',
    'stack_collate',
]
