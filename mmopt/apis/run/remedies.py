"""Rank what would help a run of which not even one sample fits, by what the memory estimate says that it saves."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmopt.config.precision import resolve_precision
from mmopt.engine.micro_batch import DoesNotFitError
from mmopt.utils.memory import GIB
from mmopt.utils.precision import ComputeDevice, this_device

__all__ = ['estimate_remedies', 'format_remedies', 'with_estimates']


def format_remedies(now_bytes: int, then_bytes: Mapping[str, int]) -> str:
    """Rank remedies by what they save.

    Args:
        now_bytes: What a step on one sample takes with the settings of the run.
        then_bytes: What it takes with each remedy alone.

    Returns:
        Lines, the most useful first; remedies that save nothing are left out.
    """
    lines = [f'One sample takes an estimated {now_bytes / GIB:.2f} GiB. What would help, most first:']
    for remedy, need in sorted(then_bytes.items(), key=lambda item: item[1]):
        if need < now_bytes:
            saved = now_bytes - need
            lines.append(f'  - {remedy}: {need / GIB:.2f} GiB ({saved / now_bytes:.0%} less)')
    return '\n'.join(lines)


def estimate_remedies(cfg: Config, estimate: Callable[..., Any], device: ComputeDevice | None = None) -> str:
    """Estimate one sample with and without each remedy.

    Args:
        cfg: A lowered config.
        estimate: :func:`mmopt.apis.estimate_memory` or what takes its place.
        device: What the run computes on; None looks at this machine.

    Returns:
        What :func:`format_remedies` gives.
    """
    optimize, device = cfg.get('optimize') or {}, device or this_device()
    own = resolve_precision(cfg.get('optim_wrapper'), device)
    half = device.native_half if own == 'fp32' else None
    is_checkpointed = bool(optimize.get('checkpointing'))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'config.py')
        cfg.dump(path)
        # One call for all: its process takes seconds to start.
        report = estimate(
            path,
            batch_sizes=[1],
            precisions=[own] if half is None else [own, half],
            checkpointings=[] if is_checkpointed else ['none', 'blocks'],
        )
    cases = {(case['precision'], case['checkpointing'] == 'blocks'): case for case in report.cases}
    now = cases.pop((own, False))
    names = {True: '--options optimize.checkpointing=blocks', False: ''}
    then = {
        ' '.join(filter(None, ['' if precision == own else f'--precision {precision}', names[blocks]])): case[
            'reserved'
        ]
        for (precision, blocks), case in cases.items()
    }
    parts = now['parts']
    then['an image of half the height and width'] = now['reserved'] - parts.get('activations', 0) * 3 // 4
    if not optimize.get('optimizer_8bit'):
        then['--options optimize.optimizer_8bit=True'] = now['reserved'] - parts.get('optimizer', 0) * 3 // 4
    return format_remedies(now['reserved'], then)


def with_estimates(error: DoesNotFitError, cfg: Config, estimate: Callable[..., Any]) -> DoesNotFitError:
    """Return the error with figures, or as it is where the config cannot be estimated."""
    try:
        return DoesNotFitError(error.failure, estimate_remedies(cfg, estimate))
    except Exception:  # whatever it is, it must not hide that memory ran out
        return error
