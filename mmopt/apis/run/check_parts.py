"""What can be told of the parts of a run before they are built: types, arguments, and packages that they need."""

import inspect
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.registry import DefaultScope, init_default_scope
from torch.utils.data import DataLoader

from mmopt.apis.run.checks import check_arguments, look_up
from mmopt.config.spelling import spelled
from mmopt.engine import EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop
from mmopt.engine.loading.build import OWN_KEYS
from mmopt.engine.logging.log_processor import LogProcessor
from mmopt.registry import (
    DATA_SAMPLERS,
    FUNCTIONS,
    LOG_PROCESSORS,
    LOOPS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    RUNNERS,
    VISBACKENDS,
    VISUALIZERS,
    Node,
)
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['check_parts']

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
        _check_part(OPTIM_WRAPPERS, section, ('optimizer', 'constructor', 'paramwise_cfg'), optimizer=None)
        _check_part(OPTIM_WRAPPER_CONSTRUCTORS, dict(type=section.get('constructor')), optim_wrapper_cfg=None)
        _check_optimizer(section.get('optimizer'))
    schedules = cfg.get('param_scheduler') or ()
    groups = schedules.values() if isinstance(schedules, Mapping) and 'type' not in schedules else [schedules]
    for group in groups:
        for schedule in [group] if isinstance(group, Mapping) else group:
            _check_schedule(schedule)
    for name in ('train', 'val'):
        loader = cfg.get(f'{name}_dataloader') or {}
        _check_loader(f'{name}_dataloader', loader)
        _check_part(DATA_SAMPLERS, loader.get('sampler'), dataset=None, seed=0)
        _check_part(FUNCTIONS, loader.get('collate_fn'), data_batch=None)
    loop = _train_loop(cfg.get('train_cfg'))
    _check_part(LOOPS, loop, runner=None, dataloader=None)
    _check_handed_on(loop)
    _check_part(LOOPS, _typed(cfg.get('val_cfg'), ValLoop), runner=None, dataloader=None, evaluator=None)
    _check_part(LOG_PROCESSORS, _typed(cfg.get('log_processor'), LogProcessor))
    if isinstance(cfg.get('runner_type'), str):
        look_up(RUNNERS, cfg['runner_type'])
    visualizer = cfg.get('visualizer')
    _check_part(VISUALIZERS, visualizer)
    backends = visualizer.get('vis_backends') if isinstance(visualizer, Mapping) else None
    for backend in [backends] if isinstance(backends, Mapping) else backends or ():
        _check_part(VISBACKENDS, backend, save_dir='')
        kind = str(backend.get('type')).rpartition('.')[2] if isinstance(backend, Mapping) else ''
        packages = _PACKAGES.get(kind, ())
        if packages and not any(find_spec(package) for package in packages):
            raise UserError(
                f'{kind}: the package {packages[0]} is not installed: pip install {packages[0]}, or take it out of '
                f'{spelled("visualizer.vis_backends")}.'
            )


def _check_loader(name: str, loader: Any) -> None:
    known = [*inspect.signature(DataLoader).parameters, *OWN_KEYS]
    for key in loader if isinstance(loader, Mapping) else ():
        if key not in known:
            near = nearest(key, known)
            hint = f' Did you mean {" or ".join(near)}?' if near else ''
            raise UserError(f'{name} has no key {key!r}.{hint}')


def _check_part(registry: Node, section: Any, others: Sequence[str] = (), **given: Any) -> None:
    """Look a type up and compare its arguments.

    Args:
        registry: Where the type is.
        section: The config; anything else is built already.
        others: Keys that are not for this class.
        **given: What the runner adds.
    """
    if not isinstance(section, Mapping) or section.get('type') is None:
        return
    with DefaultScope.overwrite_default_scope(section.get('_scope_')):
        found = look_up(registry, section['type'])
    if inspect.isclass(found):
        own = {key: value for key, value in section.items() if key not in ('type', '_scope_', *others)}
        check_arguments(found, given | own)


def _typed(section: Any, default: type) -> Any:
    return {'type': default, **section} if isinstance(section, Mapping) else section


def _train_loop(section: Any) -> Any:
    """Name the loop that the runner takes for MMEngine's ``dict(by_epoch=..., max_iters=...)``."""
    if not isinstance(section, Mapping) or 'type' in section or 'by_epoch' not in section:
        return section
    kind = EpochBasedTrainLoop if section['by_epoch'] else IterBasedTrainLoop
    return {'type': kind, **{key: value for key, value in section.items() if key != 'by_epoch'}}


def _check_handed_on(loop: Any) -> None:
    """Compare the arguments of a loop of mmopt with all classes that it hands them on to."""
    kind = look_up(LOOPS, loop['type']) if isinstance(loop, Mapping) and 'type' in loop else None
    if kind not in (EpochBasedTrainLoop, IterBasedTrainLoop):
        return
    known = {name for base in kind.__mro__[:-1] for name in inspect.signature(base.__init__).parameters}
    for name in loop:
        if name not in known | {'type', '_scope_'}:
            near = nearest(name, sorted(known - {'self', 'kwargs', 'runner', 'dataloader'}))
            hint = f' Did you mean {" or ".join(near)}?' if near else ''
            raise UserError(f'train_cfg: {kind.__name__} has no argument {name!r}.{hint}')


def _check_schedule(section: Any) -> None:
    """Build a schedule for a made-up optimizer: MMEngine's classes hand their arguments on, out of sight."""
    if not isinstance(section, Mapping) or 'type' not in section:
        return
    with DefaultScope.overwrite_default_scope(section.get('_scope_')):
        found = look_up(PARAM_SCHEDULERS, section['type'])
    own = {key: value for key, value in section.items() if key not in ('type', '_scope_', 'convert_to_iter_based')}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found(optimizer=optimizer, **own)
    except TypeError as error:
        wrong = re.search(r'(missing|unexpected).*argument.*', str(error))
        if wrong:
            raise UserError(f'{spelled("param_scheduler")}: {found.__name__}: {wrong.group()}.') from error
    except Exception:  # about an optimizer that this one is not
        return


def _check_optimizer(section: Any) -> None:
    if not isinstance(section, Mapping) or 'type' not in section:
        return  # one that is built, or a constructor's own affair
    with DefaultScope.overwrite_default_scope(section.get('_scope_')):
        found: Callable = look_up(OPTIMIZERS, section['type'])
    arguments = {key: value for key, value in section.items() if key not in ('type', '_scope_')}
    weight = torch.nn.Parameter(torch.zeros(1, 1))
    check_arguments(found, dict(params=[weight], **arguments))
    if getattr(found, '__module__', '').startswith('torch.optim.'):  # it knows which values go together
        try:
            found([weight], **arguments)
        except ValueError as error:
            name = spelled('optim_wrapper.optimizer.type')
            raise UserError(f'{name}={section["type"]!r} does not take its arguments: {error}.') from error
