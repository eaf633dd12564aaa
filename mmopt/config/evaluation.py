"""`evaluation` -> the metrics, when they run, and which checkpoint counts as the best."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmopt.config.keys import SECTIONS, is_lowered_to
from mmopt.config.schedule import RunLength
from mmopt.config.schema import ConfigError
from mmopt.utils.score_rule import score_rule

__all__ = ['best_rule', 'lower_evaluator', 'lower_validation', 'main_metric']


def lower_evaluator(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Lower what is measured.

    Args:
        evaluation: The section. ``metric`` is a dict with a ``type`` (or a list of them): metrics of the registry;
            strings are for the data set's own ``evaluate(results, metric=..., **other keys)``.

    Returns:
        The ``val_evaluator`` section.

    Raises:
        ConfigError: If metric dicts and strings are mixed, or a metric dict has no type.
    """
    keys = SECTIONS['evaluation'].keys
    arguments = {
        key: copy.deepcopy(value)
        for key, value in evaluation.items()
        if key not in keys or is_lowered_to(key, keys[key], 'val_evaluator')
    }
    metric = arguments.get('metric')
    metrics: Any = [metric] if isinstance(metric, Mapping) else metric
    is_list = isinstance(metrics, Sequence) and not isinstance(metrics, str)
    if not (is_list and any(isinstance(item, Mapping) for item in metrics)):
        return dict(type='Evaluator', metrics=[dict(type='DatasetEvaluateMetric', **arguments)])
    for item in metrics:
        if not isinstance(item, Mapping) or 'type' not in item:
            raise ConfigError(
                f'evaluation.metric mixes metric dicts with {item!r}: write dicts with a type only, or strings only.'
            )
    rest = sorted(set(arguments) - {'metric'})
    if rest:
        raise ConfigError(
            f'evaluation.{rest[0]} has no effect beside a metric dict: write it into the dict, e.g. '
            f"metric=dict(type='{metrics[0]['type']}', {rest[0]}=...)."
        )
    return dict(type='Evaluator', metrics=[dict(item) for item in metrics])


def lower_validation(evaluation: Mapping[str, Any], run: RunLength) -> dict[str, Any]:
    """Lower when it is measured.

    Returns:
        The keys of the training loop's config: ``val_interval``, ``val_start`` (None: no shift), ``val_at_end``,
        ``dynamic_intervals`` and, with such, that they are MMCV's.

    Raises:
        ConfigError: If the interval is not positive or the unit is not the run's.
    """
    given = {key: value for key, value in evaluation.items() if value is not None}
    by_epoch = given.get('by_epoch')
    if by_epoch is not None and by_epoch == run.iter_based:
        unit = 'iterations' if run.iter_based else 'epochs'
        raise ConfigError(
            f'evaluation.by_epoch={by_epoch} with {run.runner_type}: mmopt evaluates in the unit of the runner; give '
            f'evaluation.interval in {unit} and drop by_epoch.'
        )
    # Without an interval MMCV evaluates at every step of the runner; after every iteration that is never meant.
    interval = given.get('interval', run.maximum if run.iter_based and not evaluation else 1)
    if interval < 1:
        raise ConfigError(
            f'evaluation.interval must be a positive whole number, got {interval!r}; to train without evaluation, drop '
            'data.val or use --no-validate.'
        )
    start = given.get('start')
    if start is not None and start < 0:
        raise ConfigError(f'evaluation.start must not be negative, got {start!r}.')
    dynamic_intervals = _dynamic_intervals(given.get('dynamic_intervals'))
    return dict(
        val_interval=interval,
        val_start=start,
        dynamic_intervals=dynamic_intervals,
        **(dict(dynamic_from_milestone=True) if dynamic_intervals else {}),
        val_at_end=given.get('at_end', True),
    )


def _dynamic_intervals(pairs: Any) -> list[tuple[int, int]] | None:
    if pairs is None:
        return None
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ConfigError(
            f'evaluation.dynamic_intervals must be a list of (from, interval) pairs such as [(280, 1)], got {pairs!r}.'
        )
    return [tuple(pair) for pair in pairs]


def best_rule(evaluation: Mapping[str, Any]) -> str | None:
    """Tell whether a higher or a lower score is better, by MMCV's key lists.

    Returns:
        ``'greater'``, ``'less'``, or None where there is nothing to decide yet (no ``save_best``, or ``'auto'``).

    Raises:
        ConfigError: If ``rule`` is neither, or the key tells nothing.
    """
    rule, key = evaluation.get('rule'), evaluation.get('save_best')
    if rule not in (None, 'greater', 'less'):
        raise ConfigError(f"evaluation.rule={rule!r}: write 'greater' or 'less'.")
    if rule is not None or key in (None, 'auto'):
        return rule
    rule = score_rule(key, evaluation.get('greater_keys'), evaluation.get('less_keys'))
    if rule is not None:
        return rule
    raise ConfigError(
        f"evaluation.save_best={key!r}: the name does not tell whether higher is better; write rule='greater' or "
        "rule='less'."
    )


def main_metric(lowered: Mapping[str, Any], metrics: Collection[str]) -> str | None:
    """Return the metric by which a run is judged.

    Args:
        lowered: A lowered or native config.
        metrics: Names of what was measured.

    Returns:
        The first one that chooses the best checkpoint, else the first that was measured; None where nothing was.
    """
    named = ((lowered.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    first = next(iter(named), None) if isinstance(named, list | tuple) else named
    return first if first in metrics else next(iter(metrics), None)
