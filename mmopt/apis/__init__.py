"""What tools call.

Names are imported on first use: a tool parses its arguments and makes the work dir before torch, which takes seconds,
is loaded.
"""

from mmopt.utils.lazy import lazy_names

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
__getattr__ = lazy_names(__name__, _HOME)
