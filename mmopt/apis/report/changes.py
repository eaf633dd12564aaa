"""What options and flags made of a config file."""

from typing import Any

from mmengine.config import Config

from mmopt.apis.config import load_config
from mmopt.config.options.look import ABSENT, leaves, same, text_of

__all__ = ['changes_of']

# Where a run writes and how it was started belong to every run.
_OWN = ('work_dir', 'launcher', 'resume', 'load_from', 'filename')


def changes_of(cfg: Config) -> dict[str, tuple[str, str]]:
    """Compare the config of a run with the file that it was read from.

    Args:
        cfg: A lowered config, with its ``filename``.

    Returns:
        Dotted key -> the file's value and the run's, as texts; empty where a side has none.
    """
    before, after = leaves(load_config(cfg.filename).to_dict()), leaves(cfg.to_dict())
    changed: dict[str, tuple[str, str]] = {}
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if key.partition('.')[0] not in _OWN and not same(old, new):
            changed[key] = (_text(old), _text(new))
    return changed


def _text(value: Any) -> str:
    return '' if value is ABSENT else text_of(value)
