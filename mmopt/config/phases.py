"""`phases` -> the training loop's phases: `samples_per_gpu` becomes MMEngine's `batch_size`."""

from collections.abc import Mapping
from typing import Any

from mmopt.config.schedule import RunLength
from mmopt.config.schema import ConfigError, check_keys

__all__ = ['lower_phases']

_KEYS = ('until_epoch', 'freeze', 'samples_per_gpu')


def lower_phases(phases: Any, run: RunLength) -> list[dict[str, Any]]:
    """Lower the section.

    Args:
        phases: A list of dicts with ``until_epoch``, ``freeze`` (module names) and ``samples_per_gpu``, or None.

    Returns:
        The loop's ``phases``; empty where a config has none.

    Raises:
        ConfigError: If it is no such list, or the run counts iterations.
    """
    if phases is None:
        return []
    if not isinstance(phases, list | tuple) or not all(isinstance(phase, Mapping) for phase in phases):
        raise ConfigError(f'phases must be a list of dicts such as dict(until_epoch=30, freeze=[...]), got {phases!r}.')
    if run.iter_based and phases:
        raise ConfigError("phases need epochs: write runner=dict(type='EpochBasedRunner', max_epochs=...).")
    lowered = []
    for number, phase in enumerate(phases):
        check_keys(f'phases.{number}', phase, _KEYS)
        own = {key: value for key, value in phase.items() if value is not None}
        if 'samples_per_gpu' in own:
            own['batch_size'] = own.pop('samples_per_gpu')
        lowered.append(own)
    return lowered
