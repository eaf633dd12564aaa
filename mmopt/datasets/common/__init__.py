"""Samplers, collation and the data set base that all tasks share."""

from mmopt.datasets.common.base import SeededDataset
from mmopt.datasets.common.collate import stack_collate
from mmopt.datasets.common.sampler import EvaluationSampler, ResumableSampler

__all__ = ['EvaluationSampler', 'ResumableSampler', 'SeededDataset', 'stack_collate']
