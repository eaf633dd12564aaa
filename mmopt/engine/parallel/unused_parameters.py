"""Parameters that no loss depends on: DDP waits for their gradients, and says so an iteration later, by number."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmopt.utils.errors import UserError

__all__ = ['check_all_used', 'unused_parameters_explained']

_SHOWN = 6
_UNFINISHED = 'Expected to have finished reduction in the prior iteration'
_NUMBERS = re.compile(r'did not receive grad for rank \d+: (?P<numbers>[\d ]+)')


def check_all_used(model: nn.Module) -> None:
    """Refuse parameters without a gradient, after a backward pass that exchanged gradients.

    The step that would follow is wrong: those that share a bucket with an unused one were not averaged over the ranks.

    Args:
        model: As the training step has it; only DDP that does not look for unused parameters itself is checked.

    Raises:
        UserError: With their names and the remedy.
    """
    if not isinstance(model, DistributedDataParallel) or model.find_unused_parameters or model.static_graph:
        return
    named = model.module.named_parameters()
    unused = [name for name, parameter in named if parameter.requires_grad and parameter.grad is None]
    if unused:
        raise UserError(_explain(unused))


@contextmanager
def unused_parameters_explained(model: nn.Module) -> Iterator[None]:
    """Turn DDP's error about an iteration before into one that names the parameters.

    Args:
        model: What runs inside.

    Raises:
        UserError: If DDP found parameters that the iteration before did not use.
    """
    try:
        yield
    except RuntimeError as error:
        if _UNFINISHED not in str(error):
            raise
        module: Any = getattr(model, 'module', model)
        # DDP numbers those that it found trainable when it was made, shared ones once.
        names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        match = _NUMBERS.search(str(error))
        numbers = [int(number) for number in match['numbers'].split()] if match else []
        raise UserError(_explain([names[number] for number in numbers if number < len(names)])) from error


def _explain(names: Sequence[str]) -> str:
    shown = ', '.join(names[:_SHOWN]) + (f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else '')
    count = f'{len(names)} parameters' if len(names) != 1 else '1 parameter'
    which = f'{count} ({shown})' if names else 'some parameters'
    return (
        f'No loss depends on {which}, so the processes wait for gradients that never come: write '
        'find_unused_parameters=True into the config (slower), or leave out or freeze what is not used.'
    )
