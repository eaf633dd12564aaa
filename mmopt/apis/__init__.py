"""What tools call.

Names are imported on first use: a tool parses its arguments and makes the work dir before torch, which takes seconds,
is loaded.
"""

from mmopt.utils.lazy import lazy_names

_HOME = dict(
    Predictor='predict.predictor',
    add_config_flags='cli.flags',
    build_runner='run.start',
    config_arguments='cli.flags',
    describe_run='run.preflight',
    estimate_memory='memory.estimate',
    evaluate='run.evaluate',
    load_config='config',
    run_tool='cli.errors',
    train='run.train',
)

__all__ = list(_HOME)
__getattr__ = lazy_names(__name__, _HOME)
