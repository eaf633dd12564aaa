"""One form for the checkpoints of mmopt, MMEngine and mmcv 1.x and for files of weights.

mmcv 1.x counts differently: an iteration-based run stores the index of its last iteration, N - 1, an epoch-based one
the number of finished iterations, N. Here ``iter`` always is the number of finished iterations.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from mmopt.engine.checkpoint_io.mmcv1_ema import ema_for_resume, saved_swapped, split_ema
from mmopt.engine.checkpoint_io.plain import to_plain
from mmopt.utils.errors import UserError

__all__ = ['normalize']

_CONTAINERS = ('state_dict', 'model', 'model_state', 'model_state_dict', 'module')
_STEP_IN_NAME = re.compile(r'(iter|epoch)_(\d+)\.pth$')
_BEST_NAME = re.compile(r'best_(.+)_(?:iter|epoch)_\d+\.pth')


def normalize(content: Any, path: Path | str, *, for_resume: bool = False) -> dict:
    """Bring what a file holds to one form.

    Args:
        content: What was read.
        path: Where from: for messages, and because a file name tells which way mmcv 1.x counted.
        for_resume: Whether a run is to continue from it; matters for the averaged weights (EMA) of mmcv 1.x.

    Returns:
        The file's own entries, and in any case ``state_dict``, ``optimizer`` (None without one; with ``loss_scaler``
        inside if fp16 was trained), ``meta`` with the finished ``iter`` and ``epoch``, the same two at the top, and
        ``source_format``: ``'mmopt'``, ``'mmengine'``, ``'mmcv1'`` or ``'weights'``. ``message_hub``, if there, is
        plain. Averaged weights of mmcv 1.x, there buffers ``ema_*`` of the model, become MMEngine's
        ``ema_state_dict`` with ``for_resume`` (then ``state_dict`` is the average and this the raw weights, as
        MMEngine's hook expects); without it ``state_dict`` stays what mmcv would load.

    Raises:
        UserError: If it is no checkpoint.
    """
    path = Path(path)
    if not isinstance(content, Mapping):
        raise UserError(f'{path}: holds a {type(content).__name__}, not a checkpoint: a dict of tensors is needed.')
    meta = content.get('meta')
    if not isinstance(meta, Mapping) or not isinstance(content.get('state_dict'), Mapping):
        return _weights(content, path)
    if 'mmopt_version' in meta:
        checkpoint = dict(content, source_format='mmopt')
    elif 'mmengine_version' in meta or 'message_hub' in content:
        checkpoint = _from_mmengine(content)
    else:
        checkpoint = _from_mmcv1(content, path, for_resume=for_resume)
    meta = checkpoint['meta']
    meta.setdefault('iter', 0)
    meta.setdefault('epoch', 0)
    checkpoint.setdefault('optimizer', None)
    return checkpoint | dict(iter=meta['iter'], epoch=meta['epoch'])


def _weights(content: Mapping, path: Path) -> dict:
    for key in _CONTAINERS:
        if isinstance(content.get(key), Mapping) and any(isinstance(item, Tensor) for item in content[key].values()):
            content = content[key]
            break
    weights = {key: item for key, item in content.items() if isinstance(item, Tensor)}
    if not weights:
        raise UserError(
            f'{path}: no weights found: neither tensors at its top level nor a dict of them under '
            f'{", ".join(map(repr, _CONTAINERS))}; its keys are {list(content)[:8]}.'
        )
    meta = dict(iter=0, epoch=0)
    return dict(state_dict=weights, optimizer=None, meta=meta, iter=0, epoch=0, source_format='weights')


def _from_mmengine(content: Mapping) -> dict:
    checkpoint = dict(content, source_format='mmengine', meta=_lenient(content['meta']))
    hub = _lenient(checkpoint.get('message_hub') or {})
    info = hub.setdefault('runtime_info', {})
    scores = {key: value for key, value in info.items() if key.startswith('best_score')}
    files = {key: value for key, value in info.items() if key.startswith('best_ckpt')}
    best = [_best(files.get(key.replace('best_score', 'best_ckpt')), score) for key, score in scores.items()]
    checkpoint['message_hub'] = _with_best(hub, best)
    optimizer = checkpoint.get('optimizer')
    if isinstance(optimizer, Mapping):
        checkpoint['optimizer'] = {key: item for key, item in optimizer.items() if key != 'base_param_settings'}
    return checkpoint


def _from_mmcv1(content: Mapping, path: Path, *, for_resume: bool) -> dict:
    checkpoint = dict(content, source_format='mmcv1', meta=_lenient(content['meta']))
    meta = checkpoint['meta']
    by_iteration = _is_iteration_based(checkpoint, path)
    if by_iteration:
        meta['iter'] = meta.get('iter', -1) + 1
        # mmcv stores the pass that is running, counted from 1.
        meta['epoch'] = max(meta.get('epoch', 1) - 1, 0)
    weights, averages = split_ema(checkpoint['state_dict'])
    checkpoint['state_dict'] = weights
    if averages and for_resume:
        swapped = not by_iteration and saved_swapped(path.name, str(meta.get('config', '')))
        checkpoint |= ema_for_resume(weights, averages, meta.get('iter', 0), swapped=swapped)
    scaler = meta.get('fp16', {}).get('loss_scaler')
    optimizer = checkpoint.get('optimizer')
    if isinstance(optimizer, Mapping) and scaler:
        checkpoint['optimizer'] = dict(optimizer, loss_scaler=_grad_scaler(scaler))
    messages = meta.get('hook_msgs') or {}
    best = [_best(messages.get('best_ckpt'), messages.get('best_score'))]
    checkpoint['message_hub'] = _with_best({}, best)
    return checkpoint


def _is_iteration_based(checkpoint: Mapping, path: Path) -> bool:
    """Tell how mmcv 1.x counted: by the file's name, else by the config's runner, else by the hook's last file."""
    meta = checkpoint['meta']
    match = _STEP_IN_NAME.search(path.name)
    if match and match[1] == 'iter':
        return int(match[2]) == meta.get('iter', -1) + 1
    if match:
        return False
    config = str(meta.get('config', ''))
    for by_iteration, sign in ((True, 'IterBasedRunner'), (False, 'EpochBasedRunner')):
        if sign in config:
            return by_iteration
    last = _STEP_IN_NAME.search(str((meta.get('hook_msgs') or {}).get('last_ckpt', '')))
    if last is None and checkpoint.get('optimizer'):
        print_log(
            f'{path}: an mmcv 1.x checkpoint that does not say whether its run counted epochs or iterations: taken as '
            f'epochs, so {meta.get("iter", 0)} iterations are done. Name it iter_<N>.pth if it counted iterations.',
            'current',
            30,
        )
    return last is not None and last[1] == 'iter'


def _grad_scaler(state: Mapping) -> dict:
    """Turn the state of mmcv's own LossScaler (torch below 1.6) into that of torch's GradScaler."""
    if 'cur_scale' not in state:
        return dict(state)
    return dict(
        scale=float(state['cur_scale']),
        growth_factor=float(state.get('scale_factor', 2.0)),
        backoff_factor=1.0 / float(state.get('scale_factor', 2.0)),
        growth_interval=int(state.get('scale_window', 2000)),
        _growth_tracker=0,
    )


def _best(file: str | None, score: Any) -> tuple[str, dict] | None:
    name = PurePath(file).name if file else ''
    match = _BEST_NAME.fullmatch(name)
    # Before the first evaluation mmcv keeps an infinite score and no file.
    return (match[1], dict(score=float(score), file=name)) if match and score is not None else None


def _with_best(hub: Mapping, best: list[tuple[str, dict] | None]) -> dict:
    """Return a plain message hub that holds the best scores the way our CheckpointHook keeps them."""
    info, keys = dict(hub.get('runtime_info', {})), dict(hub.get('resumed_keys', {}))
    known = dict(item for item in best if item is not None)
    if known:
        info['best_checkpoints'] = known
        keys['best_checkpoints'] = True
    return dict(log_scalars=dict(hub.get('log_scalars', {})), runtime_info=info, resumed_keys=keys)


def _lenient(value: Mapping) -> dict:
    """Make a foreign ``meta`` or message hub plain; what has no plain form is of no use to a resumed run."""
    return dict(to_plain(value, on_unknown=lambda _place, _item: None))
