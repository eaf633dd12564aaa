"""Which keys the sections of an MMCV-1.x config may hold, and the errors that say what to write instead.

A closed section refuses every unknown key. An open one (`optimizer`, `evaluation`, whose other keys go on to a class or
to a data set) refuses only what looks like a slip of a known key.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from mmopt.config.values import wrong_value
from mmopt.utils.errors import UserError

__all__ = [
    'LR_POLICIES',
    'MOMENTUM_POLICIES',
    'ConfigError',
    'canonical_policy',
    'check_keys',
    'check_value',
    'nearest',
]


class ConfigError(UserError, ValueError):
    """A config says something that cannot be run as it stands; the message names key, rule and remedy."""


_WARMUP = ('policy', 'by_epoch', 'warmup', 'warmup_iters', 'warmup_ratio')
_MIN_LR = ('min_lr', 'min_lr_ratio')
_MIN_MOMENTUM = ('min_momentum', 'min_momentum_ratio')
_CYCLIC = ('target_ratio', 'cyclic_times', 'step_ratio_up', 'anneal_strategy', 'gamma')

LR_POLICIES: dict[str, tuple[str, ...]] = {
    'Fixed': (),
    'Step': ('step', 'gamma', 'min_lr'),
    'Exp': ('gamma',),
    'Poly': ('power', 'min_lr'),
    'Inv': ('gamma', 'power'),
    'CosineAnnealing': _MIN_LR,
    'FlatCosineAnnealing': ('start_percent', *_MIN_LR),
    'CosineRestart': ('periods', 'restart_weights', *_MIN_LR),
    'LinearAnnealing': _MIN_LR,
    'Cyclic': _CYCLIC,
    'OneCycle': (
        'max_lr',
        'total_steps',
        'pct_start',
        'anneal_strategy',
        'div_factor',
        'final_div_factor',
        'three_phase',
    ),
    'YOLOX': ('num_last_epochs', *_MIN_LR),
}
"""Policy of ``lr_config`` -> its own keys, besides the warm-up's."""

MOMENTUM_POLICIES: dict[str, tuple[str, ...]] = {
    'Step': ('step', 'gamma', 'min_momentum'),
    'CosineAnnealing': _MIN_MOMENTUM,
    'LinearAnnealing': _MIN_MOMENTUM,
    'Cyclic': _CYCLIC,
    'OneCycle': ('base_momentum', 'max_momentum', 'pct_start', 'anneal_strategy', 'three_phase'),
}
"""Policy of ``momentum_config`` -> its own keys; MMCV has no others."""

LOADER_KEYS = (
    'samples_per_gpu',
    'videos_per_gpu',
    'imgs_per_gpu',
    'workers_per_gpu',
    'pin_memory',
    'persistent_workers',
    'prefetch_factor',
    'shuffle',
    'drop_last',
    'cache',
    'cache_dir',
)

PARAMWISE_KEYS = (
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
)

CLOSED: dict[str, tuple[str, ...]] = {
    'data': (
        *LOADER_KEYS,
        'data_root',
        'on_bad_sample',
        'train',
        'val',
        'test',
        'train_dataloader',
        'val_dataloader',
        'test_dataloader',
    ),
    'data.train_dataloader': LOADER_KEYS,
    'data.val_dataloader': LOADER_KEYS,
    'data.test_dataloader': LOADER_KEYS,
    'optimizer.paramwise_cfg': PARAMWISE_KEYS,
    'optimizer.paramwise_cfg.custom_keys': ('lr_mult', 'decay_mult'),
    'optimizer_config': (
        'type',
        'grad_clip',
        'loss_scale',
        'cumulative_iters',
        'coalesce',
        'bucket_size_mb',
        'distributed',
        'detect_anomalous_params',
    ),
    'optimizer_config.grad_clip': ('max_norm', 'norm_type', 'error_if_nonfinite', 'foreach'),
    'runner': ('type', 'max_epochs', 'max_iters', 'accumulative_counts'),
    'fp16': ('loss_scale', 'coalesce', 'bucket_size_mb', 'distributed'),
    'fp16.loss_scale': ('init_scale', 'growth_factor', 'backoff_factor', 'growth_interval', 'enabled', 'mode'),
    'bf16': (),
    'checkpoint_config': (
        'type',
        'interval',
        'by_epoch',
        'save_optimizer',
        'out_dir',
        'max_keep_ckpts',
        'save_last',
        'sync_buffer',
        'file_client_args',
        'filename_tmpl',
        'create_symlink',
        'background',
        'meta',
    ),
    'log_config': ('interval', 'hooks'),
    'bad_numbers': ('action', 'max_in_a_row', 'lr_factor', 'max_rollbacks'),
    'dist_params': ('backend', 'port', 'init_method', 'timeout'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
}

OPEN: dict[str, tuple[str, ...]] = {
    'optimizer': (
        'type',
        'lr',
        'weight_decay',
        'momentum',
        'betas',
        'eps',
        'nesterov',
        'dampening',
        'amsgrad',
        'alpha',
        'centered',
        'paramwise_cfg',
        'constructor',
        'fused',
        'foreach',
    ),
    'evaluation': (
        'interval',
        'metric',
        'metrics',
        'start',
        'by_epoch',
        'save_best',
        'rule',
        'dynamic_intervals',
        'at_end',
        'greater_keys',
        'less_keys',
        'out_dir',
        'file_client_args',
        'gpu_collect',
        'tmpdir',
        'broadcast_bn_buffer',
        'pre_eval',
        'efficient_test',
        'topk',
        'metric_options',
        'classwise',
        'proposal_nums',
        'iou_thrs',
    ),
}

FOREIGN: dict[str, str] = {
    'data.omni_videos_per_gpu': 'belongs to OmniSource training on several loaders at once, which mmopt does not have; '
    'write one data set list in data.train (it is concatenated) and drop the key',
    'data.train_ratio': 'belongs to OmniSource training on several loaders at once, which mmopt does not have; write '
    'one data set list in data.train (it is concatenated) and drop the key',
    'data.unlabeled': 'belongs to semi-supervised training, which mmopt does not have; drop the key',
    'data.train_dataloader.class_aware_sampler': 'names a sampler that mmopt does not have; wrap data.train in '
    "dict(type='ClassBalancedDataset', oversample_thr=..., dataset=...) instead",
    'data.batch_size': 'is MMEngine wording; write samples_per_gpu',
    'data.num_workers': 'is MMEngine wording; write workers_per_gpu',
    'data.collate_fn': "is MMEngine wording; mmopt always uses dict(type='stack_collate'); drop the key",
    'optimizer.paramwise_cfg.flat_decay_mult': 'is MMEngine wording, unknown to MMCV 1.x; write custom_keys=dict(...) '
    'with decay_mult instead',
    'optimizer.paramwise_cfg.custom_keys.wd_mult': 'has no effect in MMCV 1.x, which ignores it; write decay_mult, or '
    'drop it',
    'optimizer.optimizer': 'is MMEngine wording; write the keys of the optimizer directly into optimizer=dict(...)',
    'optimizer.clip_grad': 'is MMEngine wording; write optimizer_config=dict(grad_clip=dict(max_norm=...))',
    'optimizer.grad_clip': 'belongs in optimizer_config=dict(grad_clip=dict(max_norm=...))',
    'optimizer_config.clip_grad': 'is MMEngine wording; write grad_clip',
    'optimizer_config.accumulative_counts': 'is MMEngine wording; write runner=dict(accumulative_counts=...)',
    'optimizer_config.update_interval': 'is the wording of older libraries; write runner=dict(accumulative_counts=...)',
    'optimizer_config.use_fp16': 'switches NVIDIA Apex on; write fp16=dict(loss_scale=512.) instead',
    'runner.val_interval': 'is MMEngine wording; write evaluation=dict(interval=...)',
    'runner.cumulative_iters': 'is the wording of the optimizer hook; write accumulative_counts',
    'lr_config.milestones': 'is MMEngine wording; write step',
    'lr_config.eta_min': 'is MMEngine wording; write min_lr',
    'lr_config.begin': 'is MMEngine wording; a dialect schedule begins at 0: drop the key',
    'lr_config.end': 'is MMEngine wording; a dialect schedule ends with the run: drop the key',
    'checkpoint_config.save_best': 'belongs in evaluation=dict(save_best=...)',
    'checkpoint_config.rule': 'belongs in evaluation=dict(rule=...)',
    'evaluation.out_dir': 'is not available: best checkpoints lie with the others; write checkpoint_config=dict('
    'out_dir=...)',
    'evaluation.file_client_args': 'is not available: best checkpoints lie with the others, on a local disk; drop it',
    'evaluation.val_interval': 'is MMEngine wording; write interval',
    'evaluation.key_indicator': 'is the wording of older libraries; write save_best',
}


def nearest(key: str, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """Return the known key that ``key`` most likely meant, or None when nothing is close."""
    matches = difflib.get_close_matches(key, list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def check_keys(section: str, cfg: Mapping[str, Any], known: Collection[str] | None = None) -> None:
    """Refuse unknown keys of one section, and values of the wrong kind.

    Args:
        section: Dotted name, as messages show it and as :data:`CLOSED` and :data:`OPEN` list it.
        cfg: The section.
        known: Its keys where they depend on a value (the policies); the section is then closed.

    Raises:
        ConfigError: If the section is no dict, a key is unknown, or a value is of the wrong kind.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(f'{section} must be a dict, got {type(cfg).__name__} {cfg!r}.')
    is_open = known is None and section in OPEN
    if known is None:
        known = OPEN[section] if is_open else CLOSED[section]
    for key in cfg:
        name = f'{section}.{key}'
        if name in FOREIGN:
            raise ConfigError(f'{name} {FOREIGN[name]}.')
        if key in known:
            check_value(name, key, cfg[key])
            continue
        if not isinstance(key, str):
            raise ConfigError(f'{section} has the key {key!r}: keys must be texts.')
        match = nearest(key, known, cutoff=0.8 if is_open else 0.6)
        if match is not None:
            raise ConfigError(f'{name}: did you mean {match}?')
        if not is_open:
            raise ConfigError(f'{name} is unknown; {section} takes {", ".join(known) or "no keys"}.')


def check_value(name: str, key: str, value: Any) -> None:
    """Refuse a value of the wrong kind.

    Args:
        name: Dotted name for the message.
        key: Its last part.

    Raises:
        ConfigError: With the kind that the key takes.
    """
    kind = wrong_value(key, value)
    if kind is not None:
        raise ConfigError(f'{name} must be {kind}, got {value!r}.')


def canonical_policy(section: str, policy: Any) -> str:
    """Return the policy's class name as MMCV spells it: an all-lower-case name is title-cased (``step`` -> ``Step``).

    Args:
        section: ``lr_config`` or ``momentum_config``.
        policy: The section's ``policy``.

    Returns:
        A key of :data:`LR_POLICIES` or :data:`MOMENTUM_POLICIES`.

    Raises:
        ConfigError: If MMCV has no such policy.
    """
    known = LR_POLICIES if section == 'lr_config' else MOMENTUM_POLICIES
    name = policy.title() if isinstance(policy, str) and policy == policy.lower() else policy
    if isinstance(name, str) and name in known:
        return name
    by_lower_case = {item.lower(): item for item in known}
    match = nearest(str(policy).lower(), by_lower_case)
    hint = f'did you mean {by_lower_case[match]}?' if match else f'known: {", ".join(known)}.'
    raise ConfigError(f'{section}.policy={policy!r} is unknown; {hint}')
