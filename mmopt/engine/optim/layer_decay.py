"""Constructors with a learning rate that falls from the head down to the stem, and TSM's.

`LearningRateDecayOptimizerConstructor` of MMDetection 2 and MMSegmentation 0.x (ConvNeXt, BEiT, MAE), the older
`LayerDecayOptimizerConstructor`, and MMAction 0.x's `TSMOptimizerConstructor`.
"""

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from mmopt.config.spelling import spelled
from mmopt.engine.optim.constructor import MMCV1OptimWrapperConstructor
from mmopt.engine.optim.param_groups import ParamSetting
from mmopt.registry import OPTIM_WRAPPER_CONSTRUCTORS

__all__ = [
    'LayerDecayOptimWrapperConstructor',
    'LearningRateDecayOptimWrapperConstructor',
    'TSMOptimWrapperConstructor',
]

_STEM = ('backbone.cls_token', 'backbone.mask_token', 'backbone.pos_embed')


def _convnext_layer(name: str, num_layers: int) -> int:
    """Layers are counted in groups: stem 0, stage 0 is 1, stage 1 is 2, three blocks of stage 2 each, stage 3 last."""
    parts = name.split('.')
    if name in _STEM:
        return 0
    if name.startswith('backbone.downsample_layers'):
        return {0: 0, 1: 2, 2: 3, 3: num_layers}[int(parts[2])]
    if name.startswith('backbone.stages'):
        stage = int(parts[2])
        return {0: 1, 1: 2, 2: 3 + int(parts[3]) // 3, 3: num_layers}[stage]
    return num_layers + 1


def _convnext_stage(name: str, num_layers: int) -> int:
    if name in _STEM or name.startswith('backbone.downsample_layers'):
        return 0
    return int(name.split('.')[2]) + 1 if name.startswith('backbone.stages') else num_layers + 1


def _vit_layer(name: str, num_layers: int) -> int:
    if name in _STEM or name.startswith('backbone.patch_embed'):
        return 0
    return int(name.split('.')[2]) + 1 if name.startswith('backbone.layers') else num_layers + 1


def _layer_rule(decay_type: str, backbone: str) -> Callable[[str, int], int]:
    is_convnext = 'ConvNeXt' in backbone
    is_vit = 'BEiT' in backbone or 'MAE' in backbone
    if decay_type == 'stage_wise' and is_convnext:
        return _convnext_stage
    if 'layer_wise' in decay_type and is_convnext:
        return _convnext_layer
    if 'layer_wise' in decay_type and is_vit:
        return _vit_layer
    raise ValueError(
        f"paramwise_cfg.decay_type={decay_type!r} has no rule for backbone {backbone}: 'layer_wise' knows "
        "ConvNeXt, BEiT and MAE, 'stage_wise' ConvNeXt."
    )


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LearningRateDecayOptimWrapperConstructor(MMCV1OptimWrapperConstructor):
    """Multiply the learning rate by ``decay_rate`` per layer or stage, counted from the head.

    One-dimensional parameters and biases have no weight decay. ``paramwise_cfg`` has ``num_layers``, ``decay_rate`` and
    ``decay_type`` (``'layer_wise'`` or ``'stage_wise'``).

    Args:
        optim_wrapper_cfg: See the parent.
        paramwise_cfg: The three keys.

    Raises:
        ValueError: If a key is missing or unknown, or the backbone has no rule.
    """

    def check(self) -> None:
        """Refuse a missing or unknown key."""
        known = {'num_layers', 'decay_rate', 'decay_type'}
        missing = {'num_layers', 'decay_rate'} - set(self.paramwise_cfg)
        unknown = set(self.paramwise_cfg) - known
        if missing or unknown:
            raise ValueError(
                f'{type(self).__name__}: paramwise_cfg takes {sorted(known)}; missing {sorted(missing)}, unknown '
                f'{sorted(unknown)}.'
            )
        if self.base_lr is None:
            raise ValueError(
                f'{type(self).__name__} multiplies {spelled("optim_wrapper.optimizer.lr")}, which is not set: set it.'
            )

    def settings(self, model: nn.Module) -> list[ParamSetting]:
        """Return one setting per trainable parameter."""
        rule = _layer_rule(self.paramwise_cfg.get('decay_type', 'layer_wise'), type(model.backbone).__name__)
        num_layers = self.paramwise_cfg['num_layers']
        groups: dict[tuple[int, bool], list[ParamSetting]] = {}
        for name, param in model.named_parameters():
            if not param.requires_grad:
                continue
            decays = param.ndim > 1 and not name.endswith('.bias') and name not in ('pos_embed', 'cls_token')
            layer = rule(name, num_layers)
            options = dict(lr=self.base_lr * self.paramwise_cfg['decay_rate'] ** (num_layers + 1 - layer))
            if not decays:
                options['weight_decay'] = 0.0
            groups.setdefault((layer, decays), []).append(ParamSetting(name, param, options))
        # Group by group, since that is the order of the original's checkpoints.
        return [setting for group in groups.values() for setting in group]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """The older spelling for BEiT: ``layer_decay_rate``, always layer-wise.

    Args:
        optim_wrapper_cfg: See the parent.
        paramwise_cfg: ``num_layers`` and ``layer_decay_rate``.

    Raises:
        ValueError: If a key is missing or unknown.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        renamed = dict(paramwise_cfg or {}, decay_type='layer_wise_vit')
        if 'layer_decay_rate' in renamed:
            renamed['decay_rate'] = renamed.pop('layer_decay_rate')
        super().__init__(optim_wrapper_cfg, renamed)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TSMOptimWrapperConstructor(MMCV1OptimWrapperConstructor):
    """Biases at twice the learning rate without weight decay, norms without weight decay, and a faster last layer.

    With ``fc_lr5`` the last linear layer has 5 times the learning rate, its bias 10 times.

    Args:
        optim_wrapper_cfg: See the parent.
        paramwise_cfg: ``fc_lr5``.

    Raises:
        ValueError: If ``fc_lr5`` is missing, or a layer with parameters is of no known kind.
    """

    def check(self) -> None:
        """Refuse a missing or unknown key."""
        if set(self.paramwise_cfg) != {'fc_lr5'} or self.base_lr is None:
            raise ValueError(
                f'{type(self).__name__}: write {spelled("optim_wrapper.optimizer.lr")} and '
                'paramwise_cfg=dict(fc_lr5=True or False), got lr='
                f'{self.base_lr!r} and keys {sorted(self.paramwise_cfg)}.'
            )

    def settings(self, model: nn.Module) -> list[ParamSetting]:
        """Return one setting per parameter, in the order of the original's groups."""
        names = {id(param): name for name, param in model.named_parameters()}
        weights: list[nn.Parameter] = []
        biases: list[nn.Parameter] = []
        norms: list[nn.Parameter] = []
        for module in model.modules():
            own = list(module.parameters(recurse=False))
            if isinstance(module, _ConvNd | nn.Linear):
                weights.append(own[0])
                biases += own[1:]
            elif isinstance(module, _BatchNorm | nn.GroupNorm):
                norms += [param for param in own if param.requires_grad]
            elif own and not list(module.children()):
                raise ValueError(
                    f'{type(self).__name__}: no rule for {type(module).__name__}, which has parameters; use the '
                    'default constructor with custom_keys.'
                )
        *weights, last_weight = weights
        *biases, last_bias = biases
        assert self.base_lr is not None, 'see check()'
        lr, fast = self.base_lr, self.paramwise_cfg['fc_lr5']
        plain = {} if self.base_weight_decay is None else dict(weight_decay=self.base_weight_decay)
        parts = [
            (weights, dict(lr=lr) | plain),
            (biases, dict(lr=lr * 2, weight_decay=0)),
            (norms, dict(lr=lr, weight_decay=0)),
            ([last_weight], dict(lr=lr * (5 if fast else 1)) | plain),
            ([last_bias], dict(lr=lr * (10 if fast else 2), weight_decay=0)),
        ]
        return [ParamSetting(names[id(param)], param, options) for params, options in parts for param in params]
