"""What tools call.

Names are imported on first use: a tool parses its arguments and makes the work dir before torch, which takes seconds,
is loaded.
"""

from importlib import import_module
from typing import Any

_HOME = dict(
    add_config_flags='flags',
    build_runner='run',
    config_arguments='flags',
    describe_run='preflight',
    estimate_memory='estimate',
    evaluate='run',
    load_config='config',
    run_tool='cli',
    train='run',
)

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOME[name]}'), name)
