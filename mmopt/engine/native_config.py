"""What a runner is built from: a copy of anybody's config, lowered where it is of MMCV 1.x, with `optimize` put in."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmopt.config import is_native, lower
from mmopt.config.keys import DIALECT
from mmopt.config.native import fill_samplers
from mmopt.config.optimize import check_optimize, merge_optimize
from mmopt.engine.scope import warn_of_unknown_scope

__all__ = ['native_config']


def native_config(cfg: Mapping[str, Any]) -> Any:
    """Return a native config with all that MMEngine's ``Runner.from_cfg`` asks for.

    Args:
        cfg: A config in either style, lowered or not; it is not changed.

    Returns:
        A config of the same kind.

    Raises:
        ConfigError: If the config cannot be lowered, or `optimize` asks for what there is not.
    """
    plain = cfg.to_dict() if isinstance(cfg, Config) else cfg
    filename = getattr(cfg, 'filename', None)
    native: Any
    if any(plain.get(key) is not None for key in DIALECT) and not is_native(plain):
        native = Config(lower(plain), filename=filename)
    else:
        native = copy.deepcopy(cfg)
        check_optimize(native.get('optimize'))
        merge_optimize(native)
        fill_samplers(native)
    warn_of_unknown_scope(native)
    native['randomness'] = dict(seed=None) | dict(native.get('randomness') or {})
    if native.get('work_dir') is None:
        native['work_dir'] = str(Path('work_dirs', Path(filename).stem)) if filename else 'work_dirs'
    return native
