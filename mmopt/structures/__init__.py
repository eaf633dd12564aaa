"""Samples, batches and their parts."""

from mmopt.structures.batch import batch_size, move_to, split_batch
from mmopt.structures.samples import DataSample

__all__ = ['DataSample', 'batch_size', 'move_to', 'split_batch']
