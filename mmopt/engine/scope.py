"""Sections of a config with their types looked up where the config may name them: its scope, MMEngine, mmopt."""

from collections.abc import Mapping
from typing import Any

from mmopt.registry import EVALUATOR, METRICS, PARAM_SCHEDULERS

__all__ = ['resolve_evaluator', 'resolve_schedulers']


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
