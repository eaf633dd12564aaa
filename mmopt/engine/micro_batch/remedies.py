"""What to change when not even one sample fits: the options that the config does not use yet, most useful first."""

from collections.abc import Mapping
from typing import Any

__all__ = ['remedies']


def remedies(cfg: Mapping[str, Any]) -> str:
    """List what would help.

    Args:
        cfg: A lowered config.

    Returns:
        Lines for the user.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    options = []
    if not str(wrapper.get('type')).endswith('AmpOptimWrapper'):
        options.append('--precision bf16 (or fp16): about half of the activations')
    options.append('a smaller image, clip or window in the data pipeline: activations shrink with its area')
    return '\n'.join(['What would help, most first:', *(f'  - {option}' for option in options)])
