"""Data loaders with a private generator, workers that neither share threads nor draw from the run's random state."""

import copy
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mmopt.config.spelling import spelled
from mmopt.engine.guards.signals import end_workers_at_exit, outlive_first_signal
from mmopt.engine.loading.bad_samples import skip_bad_samples
from mmopt.engine.loading.dataset import build_dataset
from mmopt.engine.loading.guarded import GuardedLoader
from mmopt.engine.loading.shared_memory import warning_for
from mmopt.engine.loading.workers import plan_for
from mmopt.registry import DATA_SAMPLERS, FUNCTIONS
from mmopt.utils.distributed import local_world_size
from mmopt.utils.errors import UserError
from mmopt.utils.malloc import keep_freed_pages

__all__ = ['OWN_KEYS', 'build_dataloader', 'init_worker']

OWN_KEYS = ('cache', 'cache_dir', 'on_bad_sample', 'num_batch_per_epoch')
"""Keys of a loader's section beside the arguments of torch's; the last is MMEngine's."""


def init_worker(worker_id: int) -> None:
    """Prepare a worker process: one OpenCV thread, seeded global generators, an allocator that keeps its pages.

    Its parent's signals do not end it. The loader's guard seeds the generators for each sample anew; the seed given
    here, another one in each epoch, is for iterable data sets.
    """
    outlive_first_signal()
    cv2.setNumThreads(0)
    keep_freed_pages()
    worker = get_worker_info()
    assert worker is not None, 'torch calls this in a worker alone'
    seed = worker.seed % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def build_dataloader(loader_cfg: DataLoader | Mapping[str, Any], seed: int) -> DataLoader:
    """Build a loader from an MMEngine-style config.

    Args:
        loader_cfg: ``dataset``, ``sampler``, ``batch_size``, ``num_workers``, ``collate_fn`` and arguments of
            :class:`torch.utils.data.DataLoader`; a built loader is returned as it is. Options that only workers need
            (``persistent_workers``, ``prefetch_factor``) are dropped without workers, ``pin_memory`` without a GPU.
            ``cache`` (``'disk'`` or ``'ram'``) and ``cache_dir`` let the data set store its samples first.
            ``on_bad_sample='skip'`` puts the next good sample into the place of a bad one; ``'raise'`` stops.
        seed: Seed of the sampler, of the samples and of the loader's own generator.

    Returns:
        The loader. With ``num_workers`` or ``prefetch_factor`` ``'auto'``, ``loader.plan`` says what was measured.

    Raises:
        UserError: If there is no sampler, or samples are to be stored of a data set that cannot.
    """
    if isinstance(loader_cfg, DataLoader):
        return loader_cfg
    # A data set that is built already is taken as it is.
    cfg = {key: value if key == 'dataset' else copy.deepcopy(value) for key, value in loader_cfg.items()}
    cache, cache_dir = cfg.pop('cache', None), cfg.pop('cache_dir', None)
    on_bad_sample = cfg.pop('on_bad_sample', 'raise')
    if on_bad_sample not in ('raise', 'skip'):
        raise UserError(f"on_bad_sample must be 'raise' or 'skip', got {on_bad_sample!r}.")
    if on_bad_sample == 'skip' and cache is not None:
        raise UserError(
            f"{spelled('train_dataloader.on_bad_sample')}='skip' and {spelled('train_dataloader.cache')} exclude "
            'each other: a cache takes good samples only; drop one.'
        )
    dataset = cfg['dataset'] = build_dataset(cfg['dataset'])
    if cache is not None:
        _prepare_cache(dataset, cache, cache_dir)
    plan = None
    if 'auto' in (cfg.setdefault('num_workers', 0), cfg.get('prefetch_factor')) and len(dataset):
        plan = plan_for(
            dataset, cfg.get('batch_size') or 1, local_world_size(), cfg['num_workers'], cfg.get('prefetch_factor')
        )
        print_log(f'{spelled("train_dataloader.num_workers")}: {plan.text}.', logger='current')
        cfg |= dict(num_workers=plan.num_workers, prefetch_factor=plan.prefetch_factor)
    num_workers = cfg['num_workers']
    if num_workers:
        end_workers_at_exit()
        if text := warning_for(dataset, cfg.get('batch_size') or 1, num_workers, cfg.get('prefetch_factor')):
            print_log(text, logger='current', level=logging.WARNING)
    else:
        cfg.pop('persistent_workers', None)
        cfg.pop('prefetch_factor', None)
    if not torch.cuda.is_available():
        cfg['pin_memory'] = False
    if 'sampler' not in cfg:
        raise UserError(
            "A loader has no sampler, which MMEngine asks for: write sampler=dict(type='DefaultSampler', shuffle=True) "
            'to train and shuffle=False to evaluate.'
        )
    for name in ('sampler', 'batch_sampler'):
        if name in cfg:
            cfg[name] = DATA_SAMPLERS.resolve(cfg[name])
    for name in ('collate_fn', 'worker_init_fn'):
        if isinstance(cfg.get(name), Mapping):
            cfg[name] = dict(cfg[name], type=_function(name, cfg[name]['type']))
    if 'worker_init_fn' not in cfg:
        cfg['worker_init_fn'] = dict(type=init_worker)
    loader = Runner.build_dataloader(_Config(cfg), seed=seed)
    if plan is not None:
        loader.plan = plan
    # Every iterator draws a base seed; from the global generator that would shift the model's dropout.
    if on_bad_sample == 'skip':
        skip_bad_samples(loader)
    loader.generator = torch.Generator().manual_seed(seed)
    _check_length(loader)
    return GuardedLoader.guard(loader, seed)


def _check_length(loader: DataLoader) -> None:
    """Refuse what has no length: epochs, schedules and evaluations count by it."""
    if not hasattr(loader.dataset, '__len__'):
        raise UserError(
            f'{type(loader.dataset).__name__} has no __len__, by which epochs, schedules and evaluations are counted: '
            'let it return the number of samples in an epoch.'
        )
    for part, what in ((loader.sampler, 'indices'), (loader.batch_sampler, 'batches')):
        if part is not None and not isinstance(loader.dataset, IterableDataset) and not hasattr(part, '__len__'):
            raise UserError(
                f'{type(part).__name__} has no __len__, by which epochs are counted: let it return the number of '
                f'{what} that one process draws in an epoch.'
            )


class _Config(dict):
    """A loader's config that MMEngine's builder does not copy: a data set that is built already would be, too."""

    def __deepcopy__(self, memo: dict) -> '_Config':
        return _Config(self)


def _prepare_cache(dataset: Any, cache: str, cache_dir: str | None) -> None:
    if cache not in ('disk', 'ram'):
        raise UserError(f"cache={cache!r} is unknown; known: 'disk', 'ram', None.")
    if not hasattr(dataset, 'prepare_cache'):
        raise UserError(
            f'{spelled("train_dataloader.cache")}={cache!r}: {type(dataset).__name__} cannot store its samples. '
            'Derive it from '
            'mmopt.datasets.common.SeededDataset, or drop the key.'
        )
    dataset.prepare_cache(cache, cache_dir)


def _function(key: str, name: str | Callable) -> Callable:
    """Look a function up by name: MMEngine's builder searches its own registry only, whatever the scope."""
    if callable(name):
        return name
    found = FUNCTIONS.get(name)
    if found is None:
        raise KeyError(f'{key} {name!r} is not in the FUNCTIONS registry; known: {sorted(FUNCTIONS.module_dict)}.')
    return found
