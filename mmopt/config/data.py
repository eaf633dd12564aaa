"""`data = dict(samples_per_gpu=..., train=..., val=..., test=...)` -> the three data loaders."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmopt.config.keys import BATCH_KEYS, LOADER, SECTIONS
from mmopt.config.schema import ConfigError, check_keys, check_value

__all__ = ['lower_data', 'lower_dataset']

_DATASET = SECTIONS['data.train'].keys
_SPLITS = ('train', 'val', 'test')
# One of the first keys as a list makes several data sets out of one; the others of its family are then cut with it.
_LIST_FAMILIES = (
    (('ann_file',), ('img_prefix', 'seg_prefix', 'proposal_file', 'data_prefix')),
    (('img_dir', 'split'), ('ann_dir',)),
)


def lower_data(data: Mapping[str, Any], *, iter_based: bool) -> dict[str, dict]:
    """Lower the ``data`` section.

    Args:
        iter_based: Whether the run counts iterations: its training sampler then never ends.

    Returns:
        ``train_dataloader``, ``val_dataloader``, ``test_dataloader``, each only where the section has its data set.

    Raises:
        ConfigError: If a key is unknown, two keys contradict each other, or a data set is no dict with a ``type``.
    """
    check_keys('data', data)
    shared = {key: value for key, value in data.items() if key in LOADER and value is not None}
    lowered = {}
    for split in _SPLITS:
        if data.get(split) is None:
            continue
        own = data.get(f'{split}_dataloader') or {}
        dataset = data[split]
        if split != 'train' and isinstance(dataset, Mapping):
            # Older detection configs keep the test batch size in the data set.
            own = {key: dataset[key] for key in BATCH_KEYS if key in dataset} | dict(own)
            dataset = {key: value for key, value in dataset.items() if key not in BATCH_KEYS}
        check_keys(f'data.{split}_dataloader', own)
        loader = _lower_loader(split, shared, own, iter_based=iter_based)
        if split == 'train' and data.get('on_bad_sample') is not None:
            loader['on_bad_sample'] = data['on_bad_sample']
        lowered[f'{split}_dataloader'] = loader | dict(
            dataset=lower_dataset(dataset, f'data.{split}', test_mode=split != 'train')
        )
    return lowered


def _batch_size(section: str, loader: Mapping[str, Any]) -> int | None:
    given = {key: loader[key] for key in BATCH_KEYS if loader.get(key) is not None}
    if len(set(given.values())) > 1:
        raise ConfigError(f'{section} gives the batch size twice: {given}; keep samples_per_gpu.')
    return next(iter(given.values()), None)


def _lower_loader(split: str, shared: Mapping[str, Any], own: Mapping[str, Any], *, iter_based: bool) -> dict:
    training = split == 'train'
    batch_size = _batch_size(f'data.{split}_dataloader', own)
    # MMCV's libraries evaluate one image at a time, video libraries a whole batch.
    if batch_size is None and (training or 'videos_per_gpu' in shared):
        batch_size = _batch_size('data', shared)
    if training and batch_size is None:
        raise ConfigError('data.samples_per_gpu is missing: write the number of samples per GPU and iteration.')
    # None in a loader takes back what holds for all.
    merged = {key: value for key, value in {**shared, **own}.items() if value is not None}
    num_workers = merged.get('workers_per_gpu', 2)
    if training:
        shuffle = merged.get('shuffle', True)
        sampler = dict(type='ResumableSampler', shuffle=shuffle, endless=iter_based)
    else:
        sampler = dict(type='EvaluationSampler', shuffle=False)
    loader = dict(
        batch_size=batch_size or 1,
        num_workers=num_workers,
        sampler=sampler,
        collate_fn=dict(type='stack_collate'),
        pin_memory=merged.get('pin_memory', True),
        drop_last=bool(merged.get('drop_last', iter_based)) if training else False,
    )
    if 'cache' in merged:
        loader |= {key: merged[key] for key in ('cache', 'cache_dir') if key in merged}
    if num_workers:
        # Torch refuses both without workers.
        loader['persistent_workers'] = merged.get('persistent_workers', True)
        if 'prefetch_factor' in merged:
            loader['prefetch_factor'] = merged['prefetch_factor']
    return loader


def lower_dataset(dataset: Any, section: str, *, test_mode: bool) -> dict:
    """Lower one data set: a list becomes a ``ConcatDataset``, wrappers are entered.

    Args:
        dataset: A data set's dict, or a list of them.
        section: Dotted name for messages.
        test_mode: Tell the data sets inside so, unless they say something themselves.

    Returns:
        A new dict.

    Raises:
        ConfigError: If something is no dict with a ``type``.
    """
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        parts = [lower_dataset(part, f'{section}.{i}', test_mode=test_mode) for i, part in enumerate(dataset)]
        if not parts:
            raise ConfigError(f'{section} is an empty list: name at least one data set.')
        return parts[0] if len(parts) == 1 else dict(type='ConcatDataset', datasets=parts)
    if not isinstance(dataset, Mapping) or 'type' not in dataset:
        raise ConfigError(f'{section} must be a dict with a type, or a list of them, got {dataset!r}.')
    for key in ('type', 'dataset', 'datasets'):
        check_value(f'{section}.{key}', _DATASET[key], dataset.get(key))
    inner = {key: dataset[key] for key in ('dataset', 'datasets') if dataset.get(key) is not None}
    lowered = {key: copy.deepcopy(value) for key, value in dataset.items() if key not in ('dataset', 'datasets')}
    if inner:
        lowered = _without_dropped(lowered)
        if 'dataset' in inner:
            lowered['dataset'] = lower_dataset(inner['dataset'], f'{section}.dataset', test_mode=test_mode)
        if 'datasets' in inner:
            lowered['datasets'] = [
                lower_dataset(part, f'{section}.datasets.{i}', test_mode=test_mode)
                for i, part in enumerate(inner['datasets'])
            ]
        return lowered
    for leaders, followers in _LIST_FAMILIES:
        if any(isinstance(lowered.get(key), list | tuple) for key in leaders):
            parts = _cut(_without_dropped(lowered), (*leaders, *followers), section)
            return lower_dataset(parts, section, test_mode=test_mode)
    if test_mode:
        lowered.setdefault('test_mode', True)
    return lowered


def _without_dropped(dataset: Mapping[str, Any]) -> dict:
    """Leave out what a ``ConcatDataset`` of MMCV's libraries takes and this one does not."""
    return {key: value for key, value in dataset.items() if key not in _DATASET or not _DATASET[key].dropped}


def _cut(dataset: dict, family: tuple[str, ...], section: str) -> list[dict]:
    lists = {key: dataset[key] for key in family if isinstance(dataset.get(key), list | tuple)}
    lengths = {key: len(value) for key, value in lists.items()}
    if len(set(lengths.values())) != 1:
        raise ConfigError(f'{section}: lists of unequal length cannot be paired into data sets: {lengths}.')
    return [dataset | {key: value[i] for key, value in lists.items()} for i in range(next(iter(lengths.values())))]
