"""The classes of the data and those of the model, compared before anything is trained.

A label beyond a head's outputs stops a GPU without a name, or is cut off in silence.
"""

from typing import Any

from torch import nn

from mmopt.utils.errors import UserError

__all__ = ['check_classes']


def check_classes(model: nn.Module, dataset: Any) -> None:
    """Refuse a data set with more classes than the model has outputs for.

    A model says how many it has by its attribute ``num_classes``; one that needs exactly as many has
    ``needs_all_classes = True``, and ``classes_remedy`` names what to set. A data set says how many it has by
    ``metainfo['classes']``. Where one of them does not say, nothing is compared.

    Args:
        model: The model, without a distributed wrapper.
        dataset: What it trains on.

    Raises:
        UserError: With both numbers and what to set.
    """
    outputs = getattr(model, 'num_classes', None)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not isinstance(outputs, int) or not isinstance(classes, list | tuple):
        return
    exact = getattr(model, 'needs_all_classes', False)
    if len(classes) == outputs or (len(classes) < outputs and not exact):
        return
    remedy = getattr(model, 'classes_remedy', 'model.num_classes')
    beyond = f' ({", ".join(map(str, classes[outputs:][:3]))} would have no output)' if len(classes) > outputs else ''
    raise UserError(
        f'{type(model).__name__}: the data set has {len(classes)} classes, the model has {outputs}{beyond}: set '
        f'{remedy} to {len(classes)}, or choose {outputs} classes (metainfo=dict(classes=[...])).'
    )
