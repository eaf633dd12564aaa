"""Samples, batches and their parts."""

from mmopt.structures.bad_samples import CollateSubstitutes, ReportedBatch, Substitute
from mmopt.structures.batch import batch_size, move_to, samples_per_batch, split_batch
from mmopt.structures.describe import describe_samples
from mmopt.structures.samples import DataSample, require_samples

__all__ = [
    'CollateSubstitutes',
    'DataSample',
    'ReportedBatch',
    'Substitute',
    'batch_size',
    'describe_samples',
    'move_to',
    'require_samples',
    'samples_per_batch',
    'split_batch',
]
