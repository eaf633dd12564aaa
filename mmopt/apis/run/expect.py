"""The config key ``expect``: what a run has to reach, or it exits with 1.

``expect = dict(metric='mIoU', above=0.3)`` names a number; ``expect = dict(metric='mIoU', margin=0.05,
baseline=dict(type='...'))`` names a baseline from the METRICS or FUNCTIONS registry, called with the training and the
validation data set and returning metrics. A list holds several.
"""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.apis.run.summary import Expectation
from mmopt.engine.loops.measure import score_of
from mmopt.registry import FUNCTIONS, METRICS
from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_number
from mmopt.utils.terminal import nearest, number

__all__ = ['ExpectedMetrics', 'check_expectations', 'parse_expectations']

_KEYS = {'metric', 'above', 'baseline', 'margin'}
_NUMBERS = {'above', 'margin'}


def parse_expectations(cfg: Mapping | Sequence[Mapping] | None) -> list[dict[str, Any]]:
    """Check the config key before the run, not after hours of it.

    Args:
        cfg: The value of ``expect``.

    Returns:
        One dict per expectation.

    Raises:
        UserError: If a key is unknown or missing, or the baseline is not registered.
    """
    entries = [dict(entry) for entry in ([cfg] if isinstance(cfg, Mapping) else cfg or [])]
    for entry in entries:
        for key in entry.keys() - _KEYS:
            raise UserError(
                f'expect.{key} is not a known key; did you mean {(nearest(key, _KEYS) or sorted(_KEYS))[0]}?'
            )
        if 'metric' not in entry or ('above' in entry) == ('baseline' in entry):
            raise UserError(
                f"expect={entry}: needs a metric, and above=<number> or baseline=dict(type='...'), margin=<number>."
            )
        for key in entry.keys() & _NUMBERS:
            if not is_number(entry[key]) or entry[key] != entry[key]:  # NaN: no metric is above it
                raise UserError(f'expect.{key} must be a number, got {entry[key]!r}.')
        if 'baseline' in entry:
            _baseline(entry['baseline'])
        elif 'margin' in entry:
            raise UserError(f'expect={entry}: margin counts from a baseline; with above=<number> leave it out.')
    return entries


def _baseline(cfg: Mapping) -> Any:
    cfg = dict(cfg)
    name = cfg.pop('type', None)
    found = METRICS.get(name) or FUNCTIONS.get(name) if isinstance(name, str) else name
    if not callable(found):
        known = [*METRICS.module_dict, *FUNCTIONS.module_dict]
        hint = nearest(str(name), known)
        suggestion = f' Did you mean {" or ".join(hint)}?' if hint else ''
        raise UserError(
            f'expect.baseline: {name!r} is neither in the METRICS nor in the FUNCTIONS registry.{suggestion}'
        )
    return found(**cfg) if inspect.isclass(found) else functools.partial(found, **cfg)


class ExpectedMetrics(Hook):
    """Stop after the first evaluation if it does not give what the config expects, not at the end of the training.

    Args:
        entries: From :func:`parse_expectations`.
    """

    # Last: the checkpoints of this evaluation are written.
    priority = 'LOWEST'

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.entries = entries

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Look for the names."""
        for entry in self.entries:
            score_of(_named(metrics or {}, entry['metric'], 'the evaluation'), entry['metric'], 'expect')


def check_expectations(
    entries: Sequence[Mapping[str, Any]], best: Mapping[str, float], train_dataset: Any, val_dataset: Any
) -> list[Expectation]:
    """Compare what a run reached with what was expected; computes the baselines.

    Args:
        entries: From :func:`parse_expectations`.
        best: Best value of each metric.
        train_dataset: Given to baselines.
        val_dataset: Given to baselines.

    Returns:
        One result per entry.

    Raises:
        UserError: If the run or the baseline has no such metric.
    """
    results = []
    for entry in entries:
        metric = entry['metric']
        bound, source, baseline = entry.get('above', 0.0), '', {}
        if 'baseline' in entry:
            name = entry['baseline']['type']
            baseline = dict(_baseline(entry['baseline'])(train_dataset, val_dataset))
            reached = _named(baseline, metric, f'the baseline {name}')[metric]
            margin = entry.get('margin', 0.0)
            bound = reached + margin
            source = f'{name} {number(reached, 3)}' + (f' + {number(margin, 3)}' if margin else '')
        value = _named(best, metric, 'the evaluation')[metric]
        results.append(Expectation(metric, float(value), float(bound), source, baseline))
    return results


def _named(metrics: Mapping[str, float], metric: str, where: str) -> Mapping[str, float]:
    if metric not in metrics:
        raise UserError(
            f'expect.metric={metric!r} is not among the metrics of {where}: {", ".join(metrics) or "none"}.'
        )
    return metrics
