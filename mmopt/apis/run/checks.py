"""What can be told of a config before its first iteration, by a dry run as well: its parts, its metrics' names."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.registry import DefaultScope, init_default_scope

from mmopt.config.spelling import spelled
from mmopt.engine.hooks.contract import check_points, check_priority
from mmopt.evaluation.dataset_evaluate import DatasetEvaluateMetric
from mmopt.registry import (
    DATA_SAMPLERS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    VISBACKENDS,
    VISUALIZERS,
    Node,
)
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['check_hooks', 'check_metric_names', 'check_metrics', 'check_parts', 'known_metrics']

_PACKAGES = dict(
    WandbVisBackend=('wandb',),
    TensorboardVisBackend=('tensorboard', 'tensorboardX'),
    MLflowVisBackend=('mlflow',),
    ClearMLVisBackend=('clearml',),
    NeptuneVisBackend=('neptune',),
    DVCLiveVisBackend=('dvclive',),
    AimVisBackend=('aim',),
)
"""MMEngine's writers of curves -> the packages of which they need one, and import when the run has begun."""


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
        found = _look_up(HOOKS, hook['type'])
        _check_arguments(found, {key: value for key, value in hook.items() if key not in ('type', 'priority')})
        if inspect.isclass(found):
            check_points(found)


def _look_up(registry: Node, name: Any) -> Any:
    if not isinstance(name, str):
        return registry.instead_of(name)
    found = registry.get(name)
    if found is None:
        raise KeyError(f'{name} is not in the {registry.scope}::{registry.name} registry.')
    return found


def _check_arguments(target: Any, arguments: Mapping[str, Any]) -> None:
    try:
        inspect.signature(target).bind(**arguments)
    except ValueError:  # no Python function
        return
    except TypeError as error:
        raise TypeError(f'{target.__name__}() {error}') from error


def check_parts(cfg: Mapping[str, Any]) -> None:
    """Look at the parts of a training that are built after its data and model: optimizer, schedules, samplers, loops.

    Args:
        cfg: A lowered config.

    Raises:
        KeyError: If a type is not registered.
        TypeError: If an optimizer has no such argument, or lacks one.
        UserError: If one of torch's optimizers does not take its values, or a writer of curves lacks its package.
    """
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    wrapper = cfg.get('optim_wrapper')
    sections = [wrapper] if isinstance(wrapper, Mapping) else []
    if sections and 'optimizer' not in sections[0]:  # one for each optimizer, by its name
        sections += [part for part in sections[0].values() if isinstance(part, Mapping) and 'optimizer' in part]
    for section in sections:
        _check_type(OPTIM_WRAPPERS, section)
        _check_type(OPTIM_WRAPPER_CONSTRUCTORS, dict(type=section.get('constructor')))
        _check_optimizer(section.get('optimizer'))
    schedules = cfg.get('param_scheduler') or ()
    groups = schedules.values() if isinstance(schedules, Mapping) and 'type' not in schedules else [schedules]
    for group in groups:
        for schedule in [group] if isinstance(group, Mapping) else group:
            _check_type(PARAM_SCHEDULERS, schedule)
    for name in ('train', 'val'):
        loader = cfg.get(f'{name}_dataloader') or {}
        _check_type(DATA_SAMPLERS, loader.get('sampler'))
        _check_type(DATA_SAMPLERS, loader.get('batch_sampler'))
        _check_type(LOOPS, cfg.get(f'{name}_cfg'))
    _check_type(LOG_PROCESSORS, cfg.get('log_processor'))
    visualizer = cfg.get('visualizer')
    _check_type(VISUALIZERS, visualizer)
    backends = visualizer.get('vis_backends') if isinstance(visualizer, Mapping) else None
    for backend in [backends] if isinstance(backends, Mapping) else backends or ():
        _check_type(VISBACKENDS, backend)
        kind = str(backend.get('type')).rpartition('.')[2] if isinstance(backend, Mapping) else ''
        packages = _PACKAGES.get(kind, ())
        if packages and not any(find_spec(package) for package in packages):
            raise UserError(
                f'{kind}: the package {packages[0]} is not installed: pip install {packages[0]}, or take it out of '
                f'{spelled("visualizer.vis_backends")}.'
            )


def _check_type(registry: Node, section: Any) -> None:
    if isinstance(section, Mapping) and isinstance(section.get('type'), str):
        with DefaultScope.overwrite_default_scope(section.get('_scope_')):
            _look_up(registry, section['type'])


def _check_optimizer(section: Any) -> None:
    if not isinstance(section, Mapping) or 'type' not in section:
        return  # one that is built, or a constructor's own affair
    with DefaultScope.overwrite_default_scope(section.get('_scope_')):
        found: Callable = _look_up(OPTIMIZERS, section['type'])
    arguments = {key: value for key, value in section.items() if key not in ('type', '_scope_')}
    weight = torch.nn.Parameter(torch.zeros(1, 1))
    _check_arguments(found, dict(params=[weight], **arguments))
    if getattr(found, '__module__', '').startswith('torch.optim.'):  # it knows which values go together
        try:
            found([weight], **arguments)
        except ValueError as error:
            name = spelled('optim_wrapper.optimizer.type')
            raise UserError(f'{name}={section["type"]!r} does not take its arguments: {error}.') from error


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
            found = _look_up(METRICS, config['type'])
        arguments = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
        _check_arguments(found, arguments)
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
        if not hasattr(_look_up(METRICS, config.get('type')), 'metric_keys'):
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
