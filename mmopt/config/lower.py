"""The MMCV-1.x dialect lowered to a native MMEngine config: a pure function from dict to dict.

Facts about the dialect are in `docs/migrating_from_mmcv1.md`. Each section has its module; here they are put together.
"""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.config.data import lower_data
from mmopt.config.data_root import replace_data_root
from mmopt.config.evaluation import lower_evaluator, lower_validation
from mmopt.config.hooks import lower_checkpoint, lower_custom_hooks, lower_logging
from mmopt.config.keys import SAME, SECTIONS, TOP_LEVEL, passed_on
from mmopt.config.late import resolve_late
from mmopt.config.native import is_native
from mmopt.config.on_device import move_to_device
from mmopt.config.optimize import check_optimize, check_optimize_name, merge_optimize
from mmopt.config.optimizer import lower_optimizer
from mmopt.config.own_names import name_own_types
from mmopt.config.phases import lower_phases
from mmopt.config.runtime import check_workflow, lower_model, lower_runtime
from mmopt.config.schedule import RunLength, lower_run_length, lower_schedules
from mmopt.config.schema import ConfigError, check_keys, check_value
from mmopt.config.words.foreign import word_of
from mmopt.config.words.names import missing_sections, resemblance

__all__ = ['lower']


def lower(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Lower a config; a native one comes back as it is.

    Args:
        cfg: A plain dict (``Config.to_dict()``); it is not changed.

    Returns:
        A new dict with exactly the sections that mmopt's runner reads, and all keys of ``cfg`` that are no section
        (variables such as ``img_norm_cfg``, sections of mmopt such as ``optimize``).

    Raises:
        ConfigError: If something cannot be run as MMCV 1.x would; the message says what, why and what to write.
    """
    cfg = resolve_late(cfg)
    check_optimize_name(cfg)
    check_optimize(cfg.get('optimize'))
    if is_native(cfg):
        native = copy.deepcopy(dict(cfg))
        merge_optimize(native)
        return native
    _check_top_level(cfg)
    check_workflow(cfg.get('workflow'))
    data = cfg.get('data') or {}
    if isinstance(data, Mapping) and data.get('data_root') is not None:
        cfg = replace_data_root(cfg, data['data_root'])
        data = cfg['data']
    evaluation = cfg.get('evaluation') or {}
    check_keys('evaluation', evaluation)
    run = lower_run_length(cfg)
    loaders = lower_data(data, iter_based=run is not None and run.iter_based)
    lowered: dict[str, Any] = dict(default_scope=cfg.get('default_scope', 'mmopt'))
    model = lower_model(cfg)
    if model is not None:
        lowered['model'] = model
    if cfg.get('optimizer') is None:
        # A config that only predicts: nothing of it is a training.
        loaders = {name: loader for name, loader in loaders.items() if name == 'test_dataloader'}
        lowered |= dict(runner_type=run.runner_type if run else 'EpochBasedRunner')
    else:
        lowered |= _lower_training(cfg, run, loaders)
    lowered |= loaders
    if 'test_dataloader' in loaders:
        lowered |= dict(test_cfg=dict(type='TestLoop'), test_evaluator=lower_evaluator(evaluation))
    lowered |= lower_runtime(cfg)
    kept = {key: value for key, value in cfg.items() if _stays(key, value) and key not in lowered}
    lowered |= copy.deepcopy(kept)
    merge_optimize(lowered)
    return name_own_types(move_to_device(lowered))


def _lower_training(cfg: Mapping[str, Any], run: RunLength | None, loaders: dict[str, dict]) -> dict[str, Any]:
    if run is None:
        raise ConfigError(
            "The config has an optimizer but no length: write runner=dict(type='IterBasedRunner', max_iters=...) or "
            "runner=dict(type='EpochBasedRunner', max_epochs=...)."
        )
    if 'train_dataloader' not in loaders:
        raise ConfigError('The config has an optimizer but no data.train: name the training data set.')
    evaluation = cfg.get('evaluation') or {}
    logging = lower_logging(cfg.get('log_config') or {}, run)
    loop = 'IterBasedTrainLoop' if run.iter_based else 'EpochBasedTrainLoop'
    train_cfg = {'type': loop, 'max_iters' if run.iter_based else 'max_epochs': run.maximum}
    if phases := lower_phases(cfg.get('phases'), run):
        train_cfg['phases'] = phases
    if cfg.get('bad_numbers') is not None:
        check_keys('bad_numbers', cfg['bad_numbers'])
        train_cfg['bad_numbers'] = passed_on(SECTIONS['bad_numbers'].keys, cfg['bad_numbers'], 'train_cfg.bad_numbers')
    lowered = dict(
        runner_type=run.runner_type,
        train_cfg=train_cfg,
        optim_wrapper=lower_optimizer(cfg),
        param_scheduler=lower_schedules(cfg, run),
        default_hooks=dict(
            runtime_info=dict(type='RuntimeInfoHook'),
            timer=dict(type='IterTimerHook'),
            sampler_seed=None,  # The sampler gets its epoch from the loop.
            logger=logging.pop('logger'),
            param_scheduler=dict(type='ParamSchedulerHook'),
            checkpoint=lower_checkpoint(cfg, run),
        ),
        custom_hooks=lower_custom_hooks(
            cfg.get('custom_hooks'), sync_buffer=bool((cfg.get('checkpoint_config') or {}).get('sync_buffer'))
        ),
        **logging,
    )
    validation = lower_validation(evaluation, run)
    if 'val_dataloader' in loaders:
        train_cfg |= validation
        lowered |= dict(val_cfg=dict(type='ValLoop'), val_evaluator=lower_evaluator(evaluation))
    elif evaluation.get('save_best') is not None:
        raise ConfigError('evaluation.save_best needs data.val: name the validation data set, or drop save_best.')
    return lowered


def _stays(key: str, value: Any) -> bool:
    """Tell whether a key is kept as it is: a variable, or one that MMEngine's configs have as well."""
    if key not in TOP_LEVEL.keys:
        return True
    return TOP_LEVEL.keys[key].to == SAME and value is not None


def _check_top_level(cfg: Mapping[str, Any]) -> None:
    """Refuse sections of the wrong kind, and a variable whose name is a slip of a section that is missing."""
    missing = missing_sections(cfg)
    for key, value in cfg.items():
        if key in TOP_LEVEL.keys:
            check_value(key, TOP_LEVEL.keys[key], value)
            continue
        found = resemblance(key, value, missing)
        if found is not None and (word := word_of(key)) is not None:
            raise ConfigError(f'{key} is a word of {word.framework}; {word.remedy(value)}.')
        if found is not None and found.is_slip:
            raise ConfigError(f'{key} is unknown; did you mean {found.key}?')
