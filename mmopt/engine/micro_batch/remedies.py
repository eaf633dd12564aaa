"""What to change when not even one sample fits."""

from collections.abc import Mapping
from typing import Any

from mmopt.config.precision import resolve_precision
from mmopt.utils.errors import UserError
from mmopt.utils.memory import other_cause
from mmopt.utils.precision import ComputeDevice, this_device

__all__ = ['DoesNotFitError', 'remedies']


class DoesNotFitError(UserError):
    """Not even one sample fits into the device's memory.

    Args:
        failure: What the device said, on this rank or another.
        advice: What would help, in lines.
    """

    def __init__(self, failure: str, advice: str) -> None:
        lines = (f'Out of memory with a single sample (micro-batch 1): {failure}', other_cause(failure), advice)
        super().__init__('\n'.join(line for line in lines if line))
        self.failure = failure


def remedies(cfg: Mapping[str, Any], device: ComputeDevice | None = None) -> str:
    """List what the config does not use yet, in the order in which it usually helps.

    Args:
        cfg: A lowered config.
        device: What the run computes on; None looks at this machine.

    Returns:
        Lines for the user, without figures.
    """
    optimize, device = cfg.get('optimize') or {}, device or this_device()
    options = []
    if not optimize.get('checkpointing'):
        options.append('--options optimize.checkpointing=blocks: blocks keep their inputs only')
    if resolve_precision(cfg.get('optim_wrapper'), device) == 'fp32' and device.native_half is not None:
        options.append(f'--precision {device.native_half}: half of the activations')
    options.append('a smaller image, clip or window in the data pipeline: activations shrink with its area')
    if not optimize.get('offload'):
        options.append('--options optimize.offload=True: what blocks keep goes to host memory')
    if not optimize.get('optimizer_8bit'):
        options.append('--options optimize.optimizer_8bit=True: a quarter of the state of the optimizer')
    return '\n'.join(['What would help, as a rule in this order:', *(f'  - {option}' for option in options)])
