"""Registries of ``mmcv.cnn``: what repositories register there, mmcv 2's builders must find."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn

from mmopt.mmcv1.registry import Registry, build_from_cfg

__all__ = [
    'ACTIVATION_LAYERS',
    'ATTENTION',
    'CONV_LAYERS',
    'DROPOUT_LAYERS',
    'FEEDFORWARD_NETWORK',
    'MODELS',
    'NORM_LAYERS',
    'PADDING_LAYERS',
    'PLUGIN_LAYERS',
    'POSITIONAL_ENCODING',
    'TRANSFORMER_LAYER',
    'TRANSFORMER_LAYER_SEQUENCE',
    'UPSAMPLE_LAYERS',
    'LayerRegistry',
    'build_model_from_cfg',
]


class LayerRegistry(Registry):
    """A registry whose entries MMEngine's has as well, where ``build_conv_layer`` and its like look today.

    In 1.x the kinds of layers were apart, there they share names; so a name that two kinds have is the later one's to
    the builders, and each kind's own to whoever asks the registry.
    """

    def get(self, key: str) -> Any:
        """Look up here, then among the layers that mmcv brings."""
        found = super().get(key)
        scope, name = self.split_scope_key(key)
        is_here = scope is None or scope == self.scope
        return MMENGINE_MODELS.module_dict.get(name) if found is None and is_here else found

    def _register_module(
        self, module: Any = None, module_name: str | Sequence[str] | None = None, force: bool = False, **aliases: Any
    ) -> None:
        super()._register_module(module, module_name, force, **aliases)
        MMENGINE_MODELS._register_module(aliases.get('module_class', module), module_name, force=True)


def build_model_from_cfg(
    cfg: Mapping | Sequence[Mapping], registry: Registry, default_args: Mapping | None = None
) -> nn.Module:
    """Build a model; of a list of configs a sequence of models."""
    if isinstance(cfg, list | tuple):
        from mmengine.model import Sequential

        return Sequential(*(build_from_cfg(part, registry, default_args) for part in cfg))
    assert isinstance(cfg, Mapping), 'a sequence is a list or a tuple'
    return build_from_cfg(cfg, registry, default_args)


MODELS = Registry('model', build_func=build_model_from_cfg, scope='mmcv')
CONV_LAYERS = LayerRegistry('conv layer', scope='mmcv')
NORM_LAYERS = LayerRegistry('norm layer', scope='mmcv')
ACTIVATION_LAYERS = LayerRegistry('activation layer', scope='mmcv')
PADDING_LAYERS = LayerRegistry('padding layer', scope='mmcv')
UPSAMPLE_LAYERS = LayerRegistry('upsample layer', scope='mmcv')
PLUGIN_LAYERS = LayerRegistry('plugin layer', scope='mmcv')
DROPOUT_LAYERS = LayerRegistry('drop out layers', scope='mmcv')
POSITIONAL_ENCODING = LayerRegistry('position encoding', scope='mmcv')
ATTENTION = LayerRegistry('attention', scope='mmcv')
FEEDFORWARD_NETWORK = LayerRegistry('feed-forward Network', scope='mmcv')
TRANSFORMER_LAYER = LayerRegistry('transformerLayer', scope='mmcv')
TRANSFORMER_LAYER_SEQUENCE = LayerRegistry('transformer-layers sequence', scope='mmcv')
