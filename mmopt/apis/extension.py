"""The switch for `mmcv._ext` in PyTorch: `mmcv_extension = 'torch'` in a config, or ``MMOPT_MMCV_EXTENSION=torch``."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from mmopt.utils.distributed import rank_to_be
from mmopt.utils.errors import UserError

__all__ = ['VARIABLE', 'provide_extension']

VARIABLE = 'MMOPT_MMCV_EXTENSION'
_has_told = False


def provide_extension(cfg: Mapping[str, Any]) -> None:
    """Put mmopt's functions where `mmcv.ops` looks for its compiled ones, if config or environment ask for it.

    To be called before anything that might import `mmcv.ops`. Says so in one line, once per process.

    Args:
        cfg: A config of either dialect; its `mmcv_extension` goes before the environment.

    Raises:
        UserError: If another value than ``'torch'`` is asked for, or mmcv is not installed.
    """
    key = cfg.get('mmcv_extension')
    source = f'{VARIABLE}=' if key is None else 'mmcv_extension='
    value = os.environ.get(VARIABLE, '') if key is None else key
    if not value:
        return
    if value != 'torch':
        raise UserError(f"{source}{value!r}: 'torch' is the only one; leave it out where mmcv is compiled.")
    from mmopt.mmcv1.extension import install_extension

    try:
        is_ours = install_extension()
    except ModuleNotFoundError as error:
        raise UserError(f"{source}'torch': {error}") from error
    _tell(
        f"{source}'torch': mmcv's compiled functions run in PyTorch here, as far as mmopt has them."
        if is_ours
        else f"{source}'torch' has no effect: mmcv's own compiled extension is installed, and stays."
    )


def _tell(text: str) -> None:
    global _has_told
    # On standard error: some tools print JSON.
    if not _has_told and rank_to_be() == 0:
        print(f'note: {text}', file=sys.stderr, flush=True)
    _has_told = True
