"""What micro-batches cannot keep exact, said once per run."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['inexact_parts']


def inexact_parts(module: nn.Module) -> list[str]:
    """List what makes a step in parts differ from the step on the whole batch.

    Args:
        module: The model, without its distributed wrapper.

    Returns:
        A sentence each; none for a model whose gradients are those of the whole batch.
    """
    notes = []
    norms = [name for name, part in module.named_modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if norms:
        notes.append(
            f'BatchNorm ({len(norms)} layers, e.g. {norms[0]}) takes its statistics from each micro-batch, not from '
            'the whole batch; GroupNorm or frozen statistics do not depend on its size.'
        )
    if hasattr(module, 'see_parts'):
        notes.append(
            f'{type(module).__name__}: what its losses divide by is added up over the whole batch, in a forward pass '
            'of its own; losses that are plain means are weighted by the number of samples.'
        )
    elif not hasattr(module, 'loss_normalizers'):
        notes.append(
            f'{type(module).__name__} has no loss_normalizers: micro-batches are weighted by their number of samples, '
            'which is exact only where every sample counts alike in the loss.'
        )
    return notes
