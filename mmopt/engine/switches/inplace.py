"""`optimize.inplace`: let activations overwrite their input where nobody else can need it.

Safe is an activation that stands in a plain ``nn.Sequential`` right behind a layer whose backward pass needs its input
but not its output, and whose own backward pass needs its output only. What autograd keeps stays the same; what goes is
the second copy while the layer runs, and its allocation.
"""

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from mmopt.engine.switches.effect import Effect

__all__ = ['inplace']

_PRODUCERS = (_ConvNd, _BatchNorm, nn.Linear, nn.GroupNorm, nn.LayerNorm)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU)


def inplace(model: nn.Module, value: Any) -> Effect:
    """Make safe activations work in place.

    Args:
        model: The model; is changed.
        value: True or False.

    Returns:
        How many were changed.
    """
    if value is False:
        return Effect('off')
    num_changed = num_already = 0
    for module in model.modules():
        # A subclass may hand out what lies between its layers.
        if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
            continue
        layers = list(module)
        for producer, activation in zip(layers, layers[1:], strict=False):
            if not isinstance(producer, _PRODUCERS) or not isinstance(activation, _ACTIVATIONS):
                continue
            if producer._forward_hooks:  # may keep the output
                continue
            num_already += activation.inplace
            num_changed += not activation.inplace
            activation.inplace = True
    if num_changed:
        return Effect(f'{num_changed} activations')
    reason = f'all {num_already} work in place already' if num_already else 'none follows its layer in an nn.Sequential'
    return Effect(f'no activation changed: {reason}', is_effective=False)
