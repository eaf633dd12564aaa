"""Sections of a config with their types looked up where the config may name them: its scope, MMEngine, mmopt."""

from collections.abc import Mapping
from typing import Any

from mmopt.registry import EVALUATOR, METRICS, PARAM_SCHEDULERS
from mmopt.utils.errors import UserError

__all__ = ['resolve_evaluator', 'resolve_schedulers', 'without_own_loop']


def resolve_evaluator(evaluator: Any) -> Any:
    """Look up an evaluator and its metrics.

    Args:
        evaluator: A section ``val_evaluator``: a metric, a list of them, a dict with ``metrics``, or what is built.

    Returns:
        The section to build.
    """
    if isinstance(evaluator, list | tuple):
        return [METRICS.resolve(metric) for metric in evaluator]
    if not isinstance(evaluator, Mapping) or 'metrics' not in evaluator:
        return METRICS.resolve(evaluator)
    metrics = resolve_evaluator(evaluator['metrics'])
    return EVALUATOR.resolve({'type': 'mmengine.Evaluator', **evaluator, 'metrics': metrics})


def resolve_schedulers(schedulers: Any) -> Any:
    """Look up schedulers.

    Args:
        schedulers: A section ``param_scheduler``: one, a list of them, or such by optimizer.

    Returns:
        The section to build.
    """
    if isinstance(schedulers, list | tuple):
        return [resolve_schedulers(item) for item in schedulers]
    if isinstance(schedulers, Mapping) and 'type' not in schedulers:
        return {name: resolve_schedulers(item) for name, item in schedulers.items()}
    return PARAM_SCHEDULERS.resolve(schedulers)


def without_own_loop(name: str, micro_batch: Any) -> str:
    """Say what a training loop of another library does without.

    Args:
        name: Of the loop's class.
        micro_batch: What ``optimize`` asks for.

    Returns:
        The warning.

    Raises:
        UserError: If something is asked for that such a loop cannot do.
    """
    if micro_batch is not None:
        raise UserError(
            f'optimize.micro_batch={micro_batch!r}: {name} runs its iterations itself; drop the key, or derive the '
            'loop from one of mmopt.engine.'
        )
    return (
        f'{name} is no loop of mmopt and runs its iterations itself: a loss that is not finite is not noticed, a '
        'signal stops the run without a checkpoint, and a run resumed within an epoch begins the epoch anew.'
    )
