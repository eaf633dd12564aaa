"""Build an optimizer wrapper with MMCV 1.x's parameter groups."""

import inspect
from typing import Any

from mmengine.optim import OptimWrapper
from torch import nn

from mmopt.config.spelling import spelled
from mmopt.engine.optim.param_groups import ParamSetting, iter_default_settings, merge_settings, plain_settings
from mmopt.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

__all__ = ['MMCV1OptimWrapperConstructor']


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MMCV1OptimWrapperConstructor:
    """Give each parameter the learning rate and weight decay of MMCV's ``DefaultOptimizerConstructor``.

    Parameters with equal settings share a group. Every group carries ``param_names`` and ``param_positions`` (see
    :func:`mmopt.engine.optim.param_groups.merge_settings`), which optimizers ignore and checkpoints keep.

    Args:
        optim_wrapper_cfg: ``dict(type=..., optimizer=dict(type=..., lr=...), **arguments of the wrapper)``.
        paramwise_cfg: ``custom_keys``, ``bias_lr_mult``, ``bias_decay_mult``, ``norm_decay_mult``,
            ``dwconv_decay_mult``, ``dcn_offset_lr_mult``, ``bypass_duplicate``, as in MMCV.

    Raises:
        ValueError: If there is no optimizer, or a weight decay is multiplied that is not set.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if 'optimizer' not in optim_wrapper_cfg:
            raise ValueError(f'optim_wrapper must hold optimizer=dict(type=...), got keys {sorted(optim_wrapper_cfg)}.')
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop('optimizer'))
        self.paramwise_cfg = dict(paramwise_cfg or {})
        self.base_lr = self.optimizer_cfg.get('lr')
        self.base_weight_decay = self.optimizer_cfg.get('weight_decay')
        self.check()

    def check(self) -> None:
        """Refuse multipliers that have nothing to multiply."""
        decays = [key for key in self.paramwise_cfg if key.endswith('_decay_mult')]
        keys: dict[str, dict] = self.paramwise_cfg.get('custom_keys', {})
        decays += [f'custom_keys[{name!r}]' for name, value in keys.items() if 'decay_mult' in value]
        if decays and self.base_weight_decay is None:
            raise ValueError(
                f'paramwise_cfg.{decays[0]} multiplies {spelled("optim_wrapper.optimizer.weight_decay")}, which is '
                'not set: set it.'
            )
        if self.base_lr is None and (keys or 'bias_lr_mult' in self.paramwise_cfg):
            raise ValueError(
                f'paramwise_cfg multiplies {spelled("optim_wrapper.optimizer.lr")}, which is not set: set it.'
            )

    def settings(self, model: nn.Module) -> list[ParamSetting]:
        """Return one setting per parameter, in the order of MMCV's checkpoints."""
        if not self.paramwise_cfg:
            return plain_settings(model)
        return list(iter_default_settings(model, self.paramwise_cfg, self.base_lr, self.base_weight_decay))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build optimizer and wrapper.

        Args:
            model: The model, or a distributed wrapper around it.

        Returns:
            The optimizer wrapper.
        """
        groups = merge_settings(self.settings(getattr(model, 'module', model)))
        optimizer = OPTIMIZERS.build(self.optimizer_cfg | {self._params_argument(): groups})
        return OPTIM_WRAPPERS.build({'type': 'OptimWrapper', **self.wrapper_cfg, 'optimizer': optimizer})

    def _params_argument(self) -> str:
        """Name the optimizer's first argument: some call it otherwise than ``params``."""
        kind: Any = self.optimizer_cfg.get('type')
        optimizer_class = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
        if optimizer_class is None:
            raise ValueError(
                f'{spelled("optim_wrapper.optimizer.type")}={kind!r} is not registered: write a class of '
                'torch.optim, e.g. AdamW.'
            )
        return next(iter(inspect.signature(optimizer_class).parameters))
