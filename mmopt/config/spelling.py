"""What a key is called in the dialect that the user writes, for messages: what they say to write can be written there.

A lowered config is MMEngine's, whatever its file was, so messages ask for a key by MMEngine's name.
:func:`mmopt.apis.config.load_config` says which dialect the file speaks; until somebody says so, it is that of mmopt's
own configs.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

__all__ = ['NAMES', 'Dialect', 'forget_dialect', 'speak', 'spelled', 'spoken']

Dialect = Literal['mmcv1', 'mmengine']

NAMES: Mapping[str, str] = MappingProxyType(
    {
        'data_root': 'data.data_root',
        'train_dataloader.dataset': 'data.train',
        'val_dataloader.dataset': 'data.val',
        'test_dataloader.dataset': 'data.test',
        'train_dataloader.batch_size': 'data.samples_per_gpu',
        'val_dataloader.batch_size': 'data.val_dataloader.samples_per_gpu',
        'train_dataloader.num_workers': 'data.workers_per_gpu',
        'train_dataloader.prefetch_factor': 'data.prefetch_factor',
        'train_dataloader.pin_memory': 'data.pin_memory',
        'train_dataloader.cache': 'data.cache',
        'train_dataloader.cache_dir': 'data.cache_dir',
        'train_dataloader.on_bad_sample': 'data.on_bad_sample',
        'optim_wrapper': 'optimizer',
        'visualizer.vis_backends': 'log_config.hooks',
        'optim_wrapper.optimizer.type': 'optimizer.type',
        'optim_wrapper.optimizer.lr': 'optimizer.lr',
        'optim_wrapper.optimizer.weight_decay': 'optimizer.weight_decay',
        'optim_wrapper.optimizer.fused': 'optimizer.fused',
        'optim_wrapper.optimizer.foreach': 'optimizer.foreach',
        'optim_wrapper.paramwise_cfg': 'optimizer.paramwise_cfg',
        'optim_wrapper.clip_grad': 'optimizer_config.grad_clip',
        'optim_wrapper.accumulative_counts': 'runner.accumulative_counts',
        'param_scheduler': 'lr_config',
        'param_scheduler.warmup_iters': 'lr_config.warmup_iters',
        'train_cfg.max_epochs': 'runner.max_epochs',
        'train_cfg.max_iters': 'runner.max_iters',
        'train_cfg.val_interval': 'evaluation.interval',
        'train_cfg.bad_numbers': 'bad_numbers',
        'val_evaluator': 'evaluation',
        'test_evaluator': 'evaluation',
        'default_hooks.checkpoint.interval': 'checkpoint_config.interval',
        'default_hooks.checkpoint.filename_tmpl': 'checkpoint_config.filename_tmpl',
        'default_hooks.checkpoint.max_keep_ckpts': 'checkpoint_config.max_keep_ckpts',
        'default_hooks.checkpoint.save_best': 'evaluation.save_best',
        'default_hooks.checkpoint.rule': 'evaluation.rule',
        'default_hooks.checkpoint.save_optimizer': 'checkpoint_config.save_optimizer',
        'default_hooks.logger.interval': 'log_config.interval',
    }
)
"""MMEngine's name of a key -> MMCV 1.x's: those that messages ask for."""

# Of the process, not of a config: what is printed is about the one that the command line names, and a lowered config
# that is written into a work dir is a native one when it is read again.
_spoken: list[Dialect] = []


def speak(dialect: Dialect) -> None:
    """Let messages spell keys as this dialect does, from now on."""
    _spoken[:] = [dialect]


def forget_dialect() -> None:
    """Undo :func:`speak`."""
    _spoken.clear()


def spoken() -> Dialect | None:
    """Return the dialect of the user's config; None if nobody has said which it is."""
    return _spoken[0] if _spoken else None


def spelled(key: str, dialect: Dialect | None = None) -> str:
    """Return the name of a key in the user's dialect.

    Args:
        key: MMEngine's name, one of :data:`NAMES`.
        dialect: The dialect, where the message is about another run than this process's.

    Returns:
        The dotted name, as ``--options`` takes it.
    """
    name = NAMES[key]
    return key if (dialect or spoken()) == 'mmengine' else name
