"""A config of mmcv 1.x's code: what is the repository's goes to the adapters, the rest is lowered as always."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

from mmopt.config import is_native, lower, replace_data_root
from mmopt.mmcv1.adapt.find import find_hook, find_lr_hook, find_runner
from mmopt.mmcv1.recognize import Repository
from mmopt.mmcv1.standins.hooks import DRIVEN
from mmopt.mmcv1.standins.optimizers import OPTIMIZER_BUILDERS
from mmopt.mmcv1.standins.runners import IterBasedRunner
from mmopt.utils.errors import ConfigWarning

__all__ = ['lower_repository', 'part_to_train']

_OF_A_RUNNER = {'load_checkpoint', 'resume', 'run', 'run_iter', 'save_checkpoint', 'train', 'val'}
_SPLITS = ('train', 'val', 'test')
_PLACEHOLDER = dict(type='SGD', lr=0.0)
_OPTIMIZER_HOOKS = ('OptimizerHook', *(name for name in DRIVEN if name.endswith('OptimizerHook')))


def lower_repository(source: Mapping[str, Any], repository: Repository) -> dict[str, Any]:
    """Lower a config whose model, data sets and hooks are a repository's, already imported.

    Args:
        source: The config as it is written; is not changed. A native one was lowered before and comes back as it is.
        repository: What was imported; it is noted, so that the lowered config needs nothing else.

    Returns:
        A native config: the repository's parts stand inside ``MMCV1Model``, ``MMCV1Dataset``, ``MMCV1Hook``.

    Raises:
        ConfigError: See :func:`mmopt.config.lower`.
    """
    if is_native(source):
        return lower(source)
    plain = dict(copy.deepcopy(dict(source)))
    root = (plain.get('data') or {}).get('data_root')
    if root is not None:
        plain = replace_data_root(plain, root)
    plain['model'] = part_to_train(plain)
    for key in ('train_cfg', 'test_cfg'):
        if not plain.get(key):
            plain.pop(key, None)  # MMSelfSup's are empty and go nowhere: an empty one means something to its models
    hooks: list[dict] = [dict(type='MMCV1Setup')]
    hooks += _take_lr_hook(plain)
    optimizer_hook = _take_optimizer_hook(plain)
    optimizers = _take_optimizers(plain)
    _name_runner(plain)
    replaced = copy.deepcopy(plain)
    data = dict(plain.get('data') or {})
    # Lists and wrappers are the repository's own to build: one data set stands for them meanwhile.
    for split in _SPLITS:
        if data.get(split) is not None:
            data[split] = {**_batch_keys(data[split]), 'type': 'MMCV1Dataset'}
    if data:
        replaced['data'] = data
    lowered = lower(replaced)
    for split in _SPLITS:
        if f'{split}_dataloader' in lowered:
            _adapt_loader(lowered[f'{split}_dataloader'], split, plain['data'][split], plain.get('data') or {})
    if lowered.get('model') is not None:
        lowered['model'] = dict(type='MMCV1Model', model=lowered['model'])
        if optimizer_hook is not None:
            lowered['model']['optimizer_hook'] = optimizer_hook
    if optimizers is not None:
        lowered['optim_wrapper'] = dict(constructor='MMCV1OptimizersConstructor', optimizers=optimizers)
    elif lowered.get('optim_wrapper'):
        _adapt_constructor(lowered['optim_wrapper'], (plain.get('optimizer') or {}).get('constructor'))
    for section in ('val_evaluator', 'test_evaluator'):
        _adapt_evaluator(lowered.get(section), plain.get('evaluation') or {})
    lowered['custom_hooks'] = hooks + [_adapt_hook(hook) for hook in lowered.get('custom_hooks') or []]
    lowered['mmcv1'] = repository.as_config()
    return lowered


def part_to_train(cfg: Mapping[str, Any]) -> Any:
    """Return the model that a config trains; in MMTracking's it may be a part of a tracker without a type.

    Args:
        cfg: The config as it is written.

    Returns:
        The model's section.
    """
    model = cfg.get('model')
    if isinstance(model, Mapping) and 'type' not in model:
        return next((model[part] for part in ('detector', 'reid') if part in model), model)
    return model


def _batch_keys(dataset: Any) -> dict[str, Any]:
    keys = ('samples_per_gpu', 'workers_per_gpu')
    return {key: dataset[key] for key in keys if isinstance(dataset, Mapping) and key in dataset}


def _take_lr_hook(cfg: dict[str, Any]) -> list[dict]:
    """Take a policy of the repository's own out of the config."""
    from mmopt.config.keys import POLICIES

    section = cfg.get('lr_config')
    if not isinstance(section, Mapping):
        return []
    policy = section.get('policy')
    name = find_lr_hook(policy) if policy is not None else section.get('type')
    known = policy is not None and (policy in POLICIES['lr_config'] or policy.title() in POLICIES['lr_config'])
    if known or name is None or find_hook(name) is None:
        return []
    del cfg['lr_config']
    rest = {key: value for key, value in section.items() if key not in ('policy', 'type')}
    # Before the hook that notes the rate for the log, which has MMEngine's highest priority but one.
    return [dict(type='MMCV1Hook', hook=dict(type=name, **rest), priority='HIGHEST')]


def _take_optimizer_hook(cfg: dict[str, Any]) -> dict[str, Any] | None:
    section = cfg.get('optimizer_config')
    if not isinstance(section, Mapping):
        return None
    kind = section.get('type')
    if kind in (None, *_OPTIMIZER_HOOKS) or find_hook(kind) is None:
        return None
    cfg['optimizer_config'] = {}
    return dict(section)


def _take_optimizers(cfg: dict[str, Any]) -> dict[str, Any] | None:
    """Take several optimizers out of the config; a placeholder keeps the place of one."""
    several = cfg.pop('optimizers', None)
    optimizer = cfg.get('optimizer')
    if several is None and isinstance(optimizer, Mapping) and optimizer and 'type' not in optimizer:
        is_several = all(isinstance(item, Mapping) and 'type' in item for item in optimizer.values())
        several = optimizer if is_several else None
    if several is None:
        return None
    cfg['optimizer'] = dict(_PLACEHOLDER)
    if 'type' in several:  # one for the whole model, under the other name
        cfg['optimizer'] = dict(several)
        return None
    return copy.deepcopy(dict(several))


def _name_runner(cfg: dict[str, Any]) -> None:
    """Let a repository's runner be the one of the two that it derives from, and say what of its own is not run."""
    section: Any = cfg.get('runner')
    found = find_runner(section.get('type')) if isinstance(section, Mapping) else None
    if found is None:
        return
    cfg['runner'] = dict(section, type='IterBasedRunner' if issubclass(found, IterBasedRunner) else 'EpochBasedRunner')
    own = {name for base in found.__mro__ if not base.__module__.startswith('mmopt.') for name in vars(base)}
    if not_run := sorted(own & _OF_A_RUNNER):
        warnings.warn(
            f'runner.type={section["type"]!r}: mmopt drives the training and does not run what this runner has of its '
            f'own: {", ".join(not_run)}.',
            ConfigWarning,
            stacklevel=3,
        )


def _adapt_loader(loader: dict[str, Any], split: str, dataset: Any, data: Mapping[str, Any]) -> None:
    source = copy.deepcopy(dataset)
    if isinstance(source, Mapping):
        source = {key: value for key, value in source.items() if key not in _batch_keys(dataset)}
        if split != 'train' and loader['batch_size'] > 1:
            source = _for_batches(source)
    del data
    loader['dataset'] = dict(type='MMCV1Dataset', source=source, test_mode=split != 'train')
    loader['collate_fn'] = dict(type='mmcv1_collate')
    if split == 'train':
        sampler = loader['sampler']
        loader['sampler'] = sampler | dict(type='MMCV1Sampler', samples_per_gpu=loader['batch_size'])


def _for_batches(source: dict[str, Any]) -> dict[str, Any]:
    """Let several test images make a batch, which ``ImageToTensor`` cannot: as MMDetection 2's own test script does."""

    def change(steps: Any) -> Any:
        changed = []
        for step in steps:
            if isinstance(step, Mapping) and 'transforms' in step:
                step = dict(step, transforms=change(step['transforms']))
            elif isinstance(step, Mapping) and step.get('type') == 'ImageToTensor':
                step = dict(type='DefaultFormatBundle')
            changed.append(step)
        return changed

    from mmopt.mmcv1.adapt.find import registry_of

    if isinstance(source.get('pipeline'), list | tuple) and registry_of('DefaultFormatBundle', 'pipeline') is not None:
        has_flips = any(isinstance(step, Mapping) and 'transforms' in step for step in source['pipeline'])
        return dict(source, pipeline=change(source['pipeline'])) if has_flips else source
    return source


def _adapt_constructor(wrapper: dict[str, Any], name: Any) -> None:
    """Let the repository's constructor make the groups, also where mmopt has one of the same name."""
    found = OPTIMIZER_BUILDERS.module_dict.get(name) if isinstance(name, str) else None
    if found is not None and not found.__module__.startswith('mmopt.'):
        own = dict(constructor=name, paramwise_cfg=wrapper.get('paramwise_cfg'))
        wrapper |= dict(constructor='MMCV1RepositoryConstructor', paramwise_cfg=own)


def _adapt_evaluator(evaluator: Any, evaluation: Mapping[str, Any]) -> None:
    for metric in (evaluator or {}).get('metrics', ()):
        if metric.get('type') == 'DatasetEvaluateMetric':
            metric['type'] = 'MMCV1Evaluation'
            if evaluation.get('pre_eval'):
                metric['pre_eval'] = True


def _adapt_hook(hook: dict[str, Any]) -> dict[str, Any]:
    kind = hook.get('type')
    found = find_hook(kind)
    if found is None or found.__module__.startswith('mmopt.'):
        return hook  # mmopt's own, also where a stand-in has its name
    adapted: dict[str, Any] = dict(type='MMCV1Hook', hook={key: hook[key] for key in hook if key != 'priority'})
    if 'priority' in hook:
        adapted['priority'] = hook['priority']
    return adapted
