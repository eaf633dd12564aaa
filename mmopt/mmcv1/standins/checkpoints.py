"""Loading and saving as mmcv 1.x spells it, through mmopt's reader: no file may run code unless the user allows it."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.runner.checkpoint import load_state_dict as mmengine_load_state_dict
from torch import Tensor, nn
from torch.optim import Optimizer

from mmopt.engine import checkpoint_io

__all__ = [
    '_load_checkpoint',
    '_load_checkpoint_with_prefix',
    'get_state_dict',
    'load_checkpoint',
    'load_state_dict',
    'save_checkpoint',
    'weights_to_cpu',
]


def load_state_dict(
    module: nn.Module, state_dict: Mapping[str, Tensor], strict: bool = False, logger: logging.Logger | None = None
) -> None:
    """Load what fits and say what does not; see :func:`mmengine.runner.load_state_dict`."""
    mmengine_load_state_dict(module, state_dict, strict, logger)


def _load_checkpoint(filename: Any, map_location: Any = None, logger: logging.Logger | None = None) -> Any:
    name = str(filename)
    if '://' in name and not name.startswith(('http://', 'https://', 'file://')):
        return CheckpointLoader.load_checkpoint(name, map_location, logger)  # torchvision://, open-mmlab://, ...
    return checkpoint_io.load(name, map_location or 'cpu')


def _state_dict_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor]:
    return checkpoint.get('state_dict', checkpoint)


def _load_checkpoint_with_prefix(prefix: str, filename: Any, map_location: Any = None) -> dict[str, Tensor]:
    """Return the weights below a prefix, which their names lose."""
    state = _state_dict_of(_load_checkpoint(filename, map_location))
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if not found:
        raise AssertionError(f'{prefix} is not in the pretrained model')
    return found


def load_checkpoint(
    model: nn.Module,
    filename: Any,
    map_location: Any = None,
    strict: bool = False,
    logger: logging.Logger | None = None,
    revise_keys: Sequence[tuple[str, str]] = ((r'^module\.', ''),),
) -> Any:
    """Load weights into a model.

    Args:
        model: Without or with a wrapper.
        filename: A file, an address, or a name such as ``torchvision://resnet50``.
        map_location: Where tensors go first.
        strict: Whether every key must match.
        logger: Gets what does not fit.
        revise_keys: ``(pattern, replacement)`` pairs for key names.

    Returns:
        The checkpoint.
    """
    checkpoint = _load_checkpoint(filename, map_location, logger)
    checkpoint_io.load_weights(
        getattr(model, 'module', model), _state_dict_of(checkpoint), strict, list(revise_keys), logger
    )
    return checkpoint


def weights_to_cpu(state_dict: Mapping[str, Tensor]) -> OrderedDict:
    """Copy weights to the CPU."""
    return OrderedDict((key, value.cpu()) for key, value in state_dict.items())


def get_state_dict(module: nn.Module, *args: Any, **kwargs: Any) -> dict:
    """Return the weights of a model, or of the one in a wrapper."""
    return getattr(module, 'module', module).state_dict(*args, **kwargs)


def save_checkpoint(
    model: nn.Module,
    filename: str | Path,
    optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
    meta: Mapping[str, Any] | None = None,
    file_client_args: Mapping[str, Any] | None = None,
    before_save: Callable[[dict], None] | None = None,
) -> None:
    """Write a checkpoint in mmcv 1.x's form.

    Args:
        model: Without or with a wrapper.
        filename: Where to.
        optimizer: One or several.
        meta: Facts to keep.
        file_client_args: Must be None: files go to a local disk.
        before_save: Changes the checkpoint.

    Raises:
        ValueError: If it is to go elsewhere.
    """
    if file_client_args is not None:
        raise ValueError(f'save_checkpoint(file_client_args={file_client_args}): checkpoints go to a local disk.')
    inner = getattr(model, 'module', model)
    kept = dict(meta or {})
    if getattr(inner, 'CLASSES', None) is not None:
        kept['CLASSES'] = inner.CLASSES
    checkpoint: dict[str, Any] = dict(meta=kept, state_dict=weights_to_cpu(inner.state_dict()))
    if isinstance(optimizer, Mapping):
        checkpoint['optimizer'] = {name: item.state_dict() for name, item in optimizer.items()}
    elif optimizer is not None:
        checkpoint['optimizer'] = optimizer.state_dict()
    if before_save is not None:
        before_save(checkpoint)
    Path(filename).parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, filename)
