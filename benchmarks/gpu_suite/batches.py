"""Batches without data: a data set's example sample with values drawn at random (zeros run faster, and hide NaN)."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmopt.apis.memory.case import MemoryCase
from mmopt.datasets.common import example_dataset
from mmopt.registry import DATASETS

__all__ = ['ExampleSamples', 'random_batch', 'use_examples']


def _randomize(value: Any, generator: torch.Generator) -> Any:
    """Draw the values of inputs; labels stay, because they must be valid."""
    if isinstance(value, Tensor):
        if value.dtype == torch.uint8:
            return torch.randint(0, 256, value.shape, dtype=torch.uint8, generator=generator)
        return torch.randn(value.shape, generator=generator).to(value.dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _randomize(item, generator) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_randomize(item, generator) for item in value]
    return value


def random_batch(case: MemoryCase, seed: int = 0) -> Any:
    """Make a collated batch of a case in host memory.

    Args:
        case: What its shapes are from.
        seed: Another one gives other inputs.

    Returns:
        As the loader would give it.
    """
    batch = dict(case.batch_maker()())
    batch['inputs'] = _randomize(batch['inputs'], torch.Generator().manual_seed(seed))
    return copy.deepcopy(batch)  # samples are one object as often as they occur, and are written to


@DATASETS.register_module()
class ExampleSamples(Dataset):
    """A data set of random inputs with the labels of an example: nothing is read, nothing is decoded.

    Args:
        of: The data set's part of a lowered config.
        length: How many samples.
    """

    def __init__(self, of: Mapping[str, Any], length: int) -> None:
        self.kind, self.part = example_dataset(of)
        self.length = length
        self.metainfo: dict[str, Any] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        sample = copy.deepcopy(self.kind.example_sample(self.part))
        sample['inputs'] = _randomize(sample['inputs'], torch.Generator().manual_seed(int(index)))
        return sample


def use_examples(cfg: Any, length: int, *, num_workers: int = 0) -> None:
    """Let a lowered config train on random inputs and evaluate nothing.

    Args:
        cfg: Is changed.
        length: Samples of the data set.
        num_workers: Of the loader.
    """
    loader = cfg.train_dataloader
    part = loader['dataset'].to_dict() if hasattr(loader['dataset'], 'to_dict') else dict(loader['dataset'])
    loader['dataset'] = dict(type='ExampleSamples', of=part, length=length)
    loader['num_workers'] = num_workers
    for key in ('persistent_workers', 'prefetch_factor', 'cache', 'cache_dir'):
        loader.pop(key, None)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[key] = None
    for key in ('expect', 'custom_hooks'):
        cfg.pop(key, None)
