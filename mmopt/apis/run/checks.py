"""What can be told of a config before its first iteration, by a dry run as well: hooks, metrics and their names."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from mmengine.registry import DefaultScope, init_default_scope

from mmopt.config.spelling import spelled
from mmopt.engine.hooks.contract import check_points, check_priority
from mmopt.evaluation.dataset_evaluate import DatasetEvaluateMetric
from mmopt.registry import (
    HOOKS,
    METRICS,
    Node,
)
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['check_arguments', 'check_hooks', 'check_metric_names', 'check_metrics', 'known_metrics', 'look_up']


def check_hooks(cfg: Mapping[str, Any]) -> None:
    """Look at the hooks of a config without building them: a hook may open files.

    Args:
        cfg: A lowered config.

    Raises:
        KeyError: If a type is not registered.
        TypeError: If a hook has no such argument, or lacks one.
        UserError: If a priority is none, or a method does not take what the loops give it.
    """
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ())]
    for hook in hooks:
        if not isinstance(hook, Mapping) or 'type' not in hook:
            continue  # of a default hook, options alone; or a hook that is built
        check_priority(hook.get('priority'), str(hook['type']))
        found = look_up(HOOKS, hook['type'])
        check_arguments(found, {key: value for key, value in hook.items() if key not in ('type', 'priority')})
        if inspect.isclass(found):
            check_points(found)


def look_up(registry: Node, name: Any) -> Any:
    """Find the type that a config names.

    Args:
        registry: Where a name is looked up.
        name: A name, or the type itself.

    Returns:
        The type.

    Raises:
        KeyError: If it is not registered.
    """
    if not isinstance(name, str):
        return registry.instead_of(name)
    found = registry.get(name)
    if found is None:
        raise KeyError(f'{name} is not in the {registry.scope}::{registry.name} registry.')
    return found


def check_arguments(target: Any, arguments: Mapping[str, Any]) -> None:
    """Compare arguments with what a class or function takes.

    Args:
        target: It is not called.
        arguments: By their names.

    Raises:
        TypeError: If one is unknown, or lacks.
    """
    try:
        inspect.signature(target).bind(**arguments)
    except ValueError:  # no Python function
        return
    except TypeError as error:
        raise TypeError(f'{target.__name__}() {error}') from error


def check_metrics(evaluator: Any, dataset: Any) -> None:
    """Look at the metrics of an evaluation without building them: a metric may read annotations.

    Args:
        evaluator: The ``val_evaluator`` section.
        dataset: The validation data set.

    Raises:
        KeyError: If a type is not registered.
        TypeError: If a metric has no such argument, or lacks one.
        ValueError: If the data set cannot measure itself and is asked to.
    """
    for config in _metrics_of(evaluator):
        if not isinstance(config, Mapping) or 'type' not in config:
            continue  # a metric that is built
        with DefaultScope.overwrite_default_scope(config.get('_scope_')):
            found = look_up(METRICS, config['type'])
        arguments = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
        check_arguments(found, arguments)
        if dataset is not None and found is DatasetEvaluateMetric:
            found(**arguments).dataset = dataset


def _metrics_of(evaluator: Any) -> Sequence:
    """Return the entries of an evaluator; none of one that is of another type, and has rules of its own."""
    if isinstance(evaluator, Mapping) and (evaluator.get('type') == 'Evaluator' or 'metrics' in evaluator):
        evaluator = evaluator.get('metrics') if evaluator.get('type', 'Evaluator') == 'Evaluator' else ()
    entries = [evaluator] if isinstance(evaluator, Mapping) else evaluator
    return entries if isinstance(entries, Sequence) else ()


def known_metrics(evaluator: Any, metainfo: Mapping[str, Any]) -> list[str] | None:
    """Return the names that an evaluation may give.

    Args:
        evaluator: The ``val_evaluator`` section.
        metainfo: Of the data set: its ``classes`` take the place of ``*`` in ``metric_keys``.

    Returns:
        The names, patterns where the classes are not known; None if a metric does not tell (``metric_keys``).
    """
    configs = _metrics_of(evaluator)
    if not configs or not all(isinstance(config, Mapping) for config in configs):
        return None
    names: list[str] = []
    for config in configs:
        if not hasattr(look_up(METRICS, config.get('type')), 'metric_keys'):
            return None
        metric = METRICS.build(dict(config))
        classes = getattr(metric, 'classes', None) or metainfo.get('classes') or ('*',)
        keys = [key.replace('*', str(name)) for key in metric.metric_keys for name in (classes if '*' in key else [''])]
        names += [f'{metric.prefix}/{key}' if getattr(metric, 'prefix', None) else key for key in keys]
    return names


def check_metric_names(cfg: Mapping[str, Any], expectations: Sequence[Mapping[str, Any]], dataset: Any) -> None:
    """Refuse names of metrics that no evaluation will give, where the metrics tell which they give.

    Args:
        cfg: A lowered config.
        expectations: Entries of ``expect``.
        dataset: The validation data set.

    Raises:
        UserError: If ``save_best``, ``expect`` or the monitor of a hook names no metric.
    """
    if dataset is None or not cfg.get('val_evaluator'):
        return
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    known = known_metrics(cfg['val_evaluator'], getattr(dataset, 'metainfo', {}))
    if known is None:
        return
    for setting, name, takes_last_part in _named(cfg, expectations):
        names = [*known, *(key.rsplit('/', 1)[-1] for key in known if takes_last_part)]
        if any(fnmatchcase(name, pattern) for pattern in names):
            continue
        near = nearest(name, known)
        hint = f'Did you mean {" or ".join(near)}? ' if near else ''
        shown = [key for key in known if '.' not in key] or known
        raise UserError(f'{setting}={name!r} is no metric of this evaluation. {hint}It gives: {", ".join(shown)}.')


def _named(cfg: Mapping[str, Any], expectations: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, bool]]:
    """Yield settings that name a metric: what they are called, the name, and whether it may lack its prefix."""
    best = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    for name in [best] if isinstance(best, str) else best or ():
        if name != 'auto':
            yield spelled('default_hooks.checkpoint.save_best'), name, True
    for entry in expectations:
        yield 'expect.metric', entry['metric'], False
    for hook in cfg.get('custom_hooks') or ():
        if (
            isinstance(hook, Mapping)
            and hook.get('type') == 'EarlyStoppingHook'
            and isinstance(hook.get('monitor'), str)
        ):
            yield 'EarlyStoppingHook.monitor', hook['monitor'], False
