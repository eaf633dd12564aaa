"""A model of mmcv 1.x in the contract of mmopt's engine, under its own parameter names.

The built model gets a class that derives from this adapter and from its own: no module is put around it, so parameters,
checkpoints, ``paramwise_cfg`` and hooks see the names of the repository. ``forward(mode='loss')`` runs the repository's
``train_step`` up to the losses; precision, micro-batches, accumulation and the step are the engine's. A model that
drives its optimizers itself keeps its ``train_step``.
"""

import dis
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmopt.engine.loops.step import sum_losses
from mmopt.mmcv1.adapt.averages import LossAverages
from mmopt.mmcv1.adapt.find import not_registered, registry_of
from mmopt.mmcv1.adapt.own_step import OwnStep
from mmopt.mmcv1.adapt.results import arguments_of_a_test, arrays_of_halves, results_of
from mmopt.mmcv1.standins.collate import to_device
from mmopt.mmcv1.standins.precision import wrap_fp16_model
from mmopt.registry import MODELS
from mmopt.utils.placement import device_of

__all__ = ['BatchMover', 'ModelAdapter', 'adapt_model', 'build_mmcv1_model', 'drives_optimizers', 'without_untaken']


class BatchMover(nn.Module):
    """Moves a batch to its model's device, in the place of MMEngine's data preprocessor; no part of the model's state.

    Args:
        model: What computes on the device.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.__dict__['_model'] = model  # not as a module inside: that would be a circle

    def forward(self, data: Any, training: bool = False) -> Any:
        """Return the batch on the device; whether it trains makes no difference."""
        del training  # MMEngine's signature
        return to_device(data, device_of(self.__dict__['_model']))


class ModelAdapter:
    """The engine's side of a model of mmcv 1.x; stands before the model's own class."""

    CLASSES: Any
    PALETTE: Any
    train_step = BaseModel.train_step
    data_preprocessor: 'BatchMover'
    _mmcv1_averages: LossAverages | None = None
    _mmcv1_half = False
    _mmcv1_losses: tuple[Tensor, dict] | None = None
    _mmcv1_test_arguments: Mapping[str, bool] = MappingProxyType({})
    _mmcv1_train_step: Callable | None = None

    def forward(self, *args: Any, mode: str | None = None, **kwargs: Any) -> Any:
        """Run the model.

        Args:
            *args: Passed on to the repository's forward.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'`` of the engine; None: the repository's own forward.
            **kwargs: The batch.

        Returns:
            Losses, a list with one result per sample, or what the repository's forward returns.
        """
        forward: Callable = super().forward  # type: ignore[misc]  # the repository's class comes after this one
        if mode is None:
            return forward(*args, **kwargs)
        self._set_precision()
        if mode == 'loss':
            return self._run_losses(forward, kwargs)
        if mode == 'predict':
            return results_of(forward(*args, **self._mmcv1_test_arguments, **kwargs))
        dummy: Callable | None = getattr(self, 'forward_dummy', None)
        return forward(*args, **kwargs) if dummy is None else dummy(*args, **kwargs)

    def val_step(self, data: Any) -> list:
        """Predict a batch as the loader gives it."""
        with arrays_of_halves():
            return self.forward(mode='predict', **self.data_preprocessor(data))

    test_step = val_step

    def _set_precision(self) -> None:
        """Set ``fp16_enabled`` as the engine's autocast is: with it ``auto_fp16`` and ``force_fp32`` act."""
        is_half = torch.is_autocast_enabled('cuda') or torch.is_autocast_enabled('cpu')
        if is_half != self._mmcv1_half:
            model: Any = self
            wrap_fp16_model(model, is_half)
            self._mmcv1_half = is_half

    def see_parts(self, parts: Sequence[dict], weights: Sequence[float]) -> None:
        """Be told of all micro-batches of a batch, before the first is trained on: losses divide by the whole."""
        model: Any = self
        if self._mmcv1_averages is None:
            model.__dict__['_mmcv1_averages'] = LossAverages(model)
        assert self._mmcv1_averages is not None, 'it was just made'
        self._mmcv1_averages.measure(lambda part: self.forward(mode='loss', **part), parts, weights)

    def _run_losses(self, forward: Callable, batch: dict) -> dict:
        if self._mmcv1_averages is not None:
            self._mmcv1_averages.begin_part()
        step = self._mmcv1_train_step
        if step is None:
            return _flat(forward(return_loss=True, **batch))
        outputs = step(self, batch, None)
        stash, self._mmcv1_losses = self._mmcv1_losses, None
        if stash is not None and outputs['loss'] is stash[0]:
            return stash[1]
        # The repository makes something else of its losses: that is trained on, the rest is logged.
        log = {name: torch.as_tensor(value) for name, value in outputs.get('log_vars', {}).items()}
        return {'loss': outputs['loss']} | {name: value for name, value in log.items() if 'loss' not in name}

    def _parse_losses(self, losses: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Add up losses, as the repositories' own method, which reads each from the device at once."""
        flat = _flat(losses)
        total, scalars = sum_losses(flat)
        self._mmcv1_losses = total, flat
        return total, scalars


def _flat(losses: Mapping[str, Any]) -> dict[str, Any]:
    """Take dicts inside apart and make tensors of numbers: classifiers and pose estimators return accuracies so."""
    flat: dict[str, Any] = {}
    for name, value in losses.items():
        if isinstance(value, Mapping):
            flat |= {key: torch.as_tensor(item) for key, item in value.items()}
        else:
            flat[name] = torch.as_tensor(value) if isinstance(value, int | float | np.number) else value
    return flat


def drives_optimizers(train_step: Callable) -> bool:
    """Tell whether a ``train_step`` steps optimizers itself, or only passes its argument on.

    Args:
        train_step: The repository's method.

    Returns:
        Whether it takes an attribute or an entry of its second argument.
    """
    code = getattr(train_step, '__wrapped__', train_step).__code__
    if code.co_argcount < 3:
        return False
    name = code.co_varnames[2]
    # Loads of a variable come in several spellings, by what the compiler knew of it.
    steps = [step for step in dis.get_instructions(code) if step.opname not in ('CACHE', 'EXTENDED_ARG', 'NOP')]
    for place, step in enumerate(steps[:-1]):
        if step.opname.startswith(('LOAD_FAST', 'LOAD_DEREF')) and step.argval == name:
            following = [item.opname for item in steps[place + 1 : place + 3]]
            if following[0].startswith(('LOAD_ATTR', 'LOAD_METHOD')) or following[-1] == 'BINARY_SUBSCR':
                return True
    return False


def _definers(kind: type, name: str) -> int:
    return sum(name in vars(base) for base in kind.__mro__)


def adapt_model(model: nn.Module, *, optimizer_hook: Any = None) -> nn.Module:
    """Give a model the class that the engine drives.

    Args:
        model: A model of mmcv 1.x; is changed.
        optimizer_hook: A hook of the repository that turns its loss into a step; None leaves the step to the engine
            or to the model.

    Returns:
        The model.
    """
    own = type(model)
    train_step = getattr(own, 'train_step', None)
    members: dict[str, Any] = dict(__module__=own.__module__, __qualname__=own.__qualname__, __doc__=own.__doc__)
    bases: tuple[type, ...] = (ModelAdapter, own)
    if optimizer_hook is not None or (train_step is not None and drives_optimizers(train_step)):
        bases = (OwnStep, *bases)
        members |= dict(_mmcv1_optimizer_hook=optimizer_hook)
        # As it is defined: what getattr gives is no static method any more.
        members |= {
            name: inspect.getattr_static(own, name) for name in ('_parse_losses', 'parse_losses') if hasattr(own, name)
        }
    else:
        # One that defines it again means something by it.
        for name in ('_parse_losses', 'parse_losses'):
            if _definers(own, name) > 1:
                members[name] = inspect.getattr_static(own, name)
            elif hasattr(own, name):
                members[name] = ModelAdapter._parse_losses
    model.__class__ = type(own.__name__, bases, members)
    adapted: Any = model
    adapted.__dict__['data_preprocessor'] = BatchMover(model)
    adapted.__dict__['_mmcv1_test_arguments'] = arguments_of_a_test(own)
    adapted.__dict__['_mmcv1_train_step'] = train_step
    return adapted


def without_untaken(config: ConfigDict, model_class: Any) -> ConfigDict:
    """Leave out ``train_cfg`` and ``test_cfg`` where a model takes neither: some libraries keep them outside, unused.

    Args:
        config: The model's config.
        model_class: The repository's class, or a function.

    Returns:
        The config, or a smaller copy.
    """
    taken = inspect.signature(model_class).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return config
    untaken = [key for key in ('train_cfg', 'test_cfg') if key in config and key not in taken]
    return ConfigDict({key: value for key, value in config.items() if key not in untaken}) if untaken else config


@MODELS.register_module(name='MMCV1Model')
def build_mmcv1_model(model: Mapping[str, Any], optimizer_hook: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a model of a repository and adapt it.

    Args:
        model: Its config.
        optimizer_hook: ``optimizer_config`` where it names a hook of the repository.

    Returns:
        The model.

    Raises:
        UserError: If no registry of the repository has its type.
    """
    from mmopt.mmcv1.standins.hooks import HOOKS

    config = ConfigDict(model)
    registry = registry_of(config['type'], 'model')
    if registry is None:
        raise not_registered('model', config['type'])
    # mmcv's builders of layers ask MMEngine's registry in the default scope: mmopt has layers of the same names.
    with DefaultScope.overwrite_default_scope('mmengine'):
        built = registry.build(without_untaken(config, registry.get(config['type'])))
    hook = None if optimizer_hook is None else HOOKS.build(dict(optimizer_hook))
    return adapt_model(built, optimizer_hook=hook)
