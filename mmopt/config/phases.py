"""`phases` -> the training loop's phases: `samples_per_gpu` becomes MMEngine's `batch_size`."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmopt.config.keys import SECTIONS, passed_on
from mmopt.config.schedule import RunLength
from mmopt.config.schema import ConfigError, check_keys

__all__ = ['lower_phases']


def lower_phases(phases: Sequence[Mapping[str, Any]] | None, run: RunLength) -> list[dict[str, Any]]:
    """Lower the section.

    Args:
        phases: A list of dicts with ``until_epoch``, ``freeze`` (module names) and ``samples_per_gpu``, or None.

    Returns:
        The loop's ``phases``; empty where a config has none.

    Raises:
        ConfigError: If a key is unknown, or the run counts iterations.
    """
    if phases is None:
        return []
    if run.iter_based and phases:
        raise ConfigError("phases need epochs: write runner=dict(type='EpochBasedRunner', max_epochs=...).")
    lowered = []
    for number, phase in enumerate(phases):
        check_keys(f'phases.{number}', phase, SECTIONS['phases'])
        lowered.append(passed_on(SECTIONS['phases'].keys, phase, 'train_cfg.phases'))
    return lowered
