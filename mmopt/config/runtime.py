"""What surrounds the training: loading and resuming, environment, seeds, distribution, workflow, the model's dict."""

import copy
from collections.abc import Mapping
from typing import Any

from mmopt.config.keys import SECTIONS, passed_on
from mmopt.config.schema import ConfigError, check_keys

__all__ = ['check_workflow', 'lower_model', 'lower_runtime']


def check_workflow(workflow: Any) -> None:
    """Accept training phases only.

    Args:
        workflow: The section, a list of ``(phase, count)`` pairs, or None.

    Raises:
        ConfigError: If there is a validation phase or something else.
    """
    for phase in workflow or []:
        if not isinstance(phase, list | tuple) or len(phase) != 2:
            raise ConfigError(f"workflow must be a list of (phase, count) pairs such as ('train', 1), got {phase!r}.")
        if phase[0] != 'train':
            raise ConfigError(
                f'workflow has a {phase[0]!r} phase, which MMEngine cannot run: write workflow=[("train", 1)]; '
                'evaluation=dict(interval=...) measures on data.val, and a val_loss needs a metric that computes it.'
            )


def lower_model(cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the model's dict with top-level ``train_cfg`` and ``test_cfg`` moved in, as MMCV's libraries do.

    Args:
        cfg: The whole config.

    Returns:
        A new dict, or None when the config has no model.

    Raises:
        ConfigError: If one of the two stands both outside and inside.
    """
    if cfg.get('model') is None:
        return None
    model = copy.deepcopy(dict(cfg['model']))
    for key in ('train_cfg', 'test_cfg'):
        if cfg.get(key) is None:
            continue
        if model.get(key) is not None:
            raise ConfigError(f'{key} is given at the top level and in model.{key}: keep the one in the model.')
        model[key] = copy.deepcopy(cfg[key])
    return model


def lower_runtime(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Lower loading, environment, seeds and distribution.

    Args:
        cfg: The whole config.

    Returns:
        ``load_from``, ``resume``, ``env_cfg``, ``randomness``, ``log_level`` and, where set, ``auto_resume`` and
        ``model_wrapper_cfg``.

    Raises:
        ConfigError: If ``dist_params`` or ``auto_scale_lr`` hold an unknown key.
    """
    dist_params = cfg.get('dist_params') or {}
    check_keys('dist_params', dist_params)
    lowered = dict(
        log_level=cfg.get('log_level') or 'INFO',
        **_lower_loading(cfg),
        env_cfg=dict(
            cudnn_benchmark=bool(cfg.get('cudnn_benchmark', False)),
            mp_cfg=dict(
                mp_start_method=cfg.get('mp_start_method', 'fork'),
                opencv_num_threads=cfg.get('opencv_num_threads', 0),
            ),
            dist_cfg=dict(backend='nccl') | passed_on(SECTIONS['dist_params'].keys, dist_params, 'env_cfg.dist_cfg'),
        ),
        randomness=dict(seed=cfg.get('seed'), deterministic=bool(cfg.get('deterministic', False))),
    )
    if 'find_unused_parameters' in cfg:
        # MMCV's libraries never broadcast buffers either.
        lowered['model_wrapper_cfg'] = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=bool(cfg['find_unused_parameters']),
        )
    if cfg.get('model_wrapper') == 'fsdp':
        lowered['model_wrapper_cfg'] = dict(type='FSDP')
    if cfg.get('auto_scale_lr') is not None:
        check_keys('auto_scale_lr', cfg['auto_scale_lr'])
    return lowered


def _lower_loading(cfg: Mapping[str, Any]) -> dict[str, Any]:
    if cfg.get('resume_from'):
        return dict(load_from=cfg['resume_from'], resume=True)
    if cfg.get('auto_resume'):
        if not cfg.get('load_from'):
            return dict(load_from=None, resume=True)  # MMEngine then looks for last_checkpoint in the work dir.
        # First the work dir's last checkpoint, else these weights: more than MMEngine's two keys can say.
        return dict(load_from=cfg['load_from'], resume=False, auto_resume=True)
    return dict(load_from=cfg.get('load_from'), resume=False)
