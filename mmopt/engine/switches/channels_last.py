"""`optimize.channels_last`: store convolution weights with their channels innermost, as tensor cores read them.

Only the weights are converted: a convolution whose weight is channels-last gives a channels-last output, so the
activations follow by themselves from the first convolution on. Values and checkpoints stay what they are.

3-D convolutions may win or lose by it: measure.
"""

from typing import Any

import torch
from torch import nn

from mmopt.engine.switches.effect import Effect

__all__ = ['channels_last']

_FORMATS = {4: ('2d', torch.channels_last), 5: ('3d', torch.channels_last_3d)}


def channels_last(model: nn.Module, value: Any) -> Effect:
    """Convert the weights of convolutions in place.

    Args:
        model: The model, on its device.
        value: ``'2d'`` or ``'3d'`` convolutions, True for both, False for none.

    Returns:
        What was converted.
    """
    if value is False:
        return Effect('off')
    wanted = [value] if isinstance(value, str) else ['2d', '3d']
    counts = dict.fromkeys(wanted, 0)
    for module in model.modules():
        weight: Any = getattr(module, 'weight', None)
        if not isinstance(module, nn.modules.conv._ConvNd) or weight.dim() not in _FORMATS:
            continue
        dims, memory_format = _FORMATS[weight.dim()]
        if dims in counts:
            # Through .data: the parameter stays the object that optimizers and hooks hold.
            weight.data = weight.data.contiguous(memory_format=memory_format)
            counts[dims] += 1
    text = ', '.join(f'{count} {dims} convolutions' for dims, count in counts.items())
    if any(counts.values()):
        return Effect(text)
    return Effect(f'the model has no convolution of {" or ".join(wanted)}: drop the key', is_effective=False)
