"""Weights, gradients and optimizer state sharded over processes (FSDP2), with checkpoints as of one process.

A checkpoint holds whole tensors in the form that a run without sharding writes and reads. What costs is gathering them,
which all ranks do together.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mmopt.config.precision import AUTO, precision_of
from mmopt.utils.errors import UserError
from mmopt.utils.placement import device_of
from mmopt.utils.type_names import type_names

__all__ = [
    'check_sharding',
    'gathered',
    'is_sharded',
    'scatter_like',
    'scatter_optimizer_state',
    'shard_model',
    'to_full',
]

_CONTAINERS = (nn.ModuleList, nn.ModuleDict)


def check_sharding(cfg: Mapping[str, Any]) -> None:
    """Refuse what does not work on shards.

    Args:
        cfg: The lowered config.

    Raises:
        UserError: If it averages weights or runs in fp16.
    """
    hooks = [hook.get('type') for hook in cfg.get('custom_hooks') or [] if isinstance(hook, Mapping)]
    if any('EMAHook' in type_names(kind) for kind in hooks):
        raise UserError(
            "model_wrapper='fsdp': averaged weights (EMAHook) are not sharded; drop the hook, or use 'ddp'."
        )
    if precision_of(cfg.get('optim_wrapper')) in ('fp16', AUTO):
        # Each rank would look for infinities in its own shards only, and step where another skips.
        raise UserError(
            "model_wrapper='fsdp' does not work with fp16, whose loss scaler would decide on each rank alone; use "
            "--precision bf16 or fp32, or 'ddp'."
        )


def shard_model(model: nn.Module, min_params: int = 1_000_000) -> nn.Module:
    """Shard a model in place over all processes: its large blocks each for itself, then what is left as a whole.

    Args:
        model: The model, on its device; rank 0's weights become everybody's.
        min_params: A member of a ``ModuleList`` or ``Sequential`` with as many parameters is gathered and freed by
            itself; smaller ones together with what surrounds them.

    Returns:
        The model.
    """
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            distributed.broadcast(tensor, 0)
    device_type = device_of(model).type
    mesh = init_device_mesh(device_type, (distributed.get_world_size(),))
    for block in _blocks(model, min_params):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)  # in place
    return model


def _blocks(model: nn.Module, min_params: int) -> list[nn.Module]:
    """Return the members to shard, inner ones before outer ones, as ``fully_shard`` wants them."""
    members = {
        member
        for parent in model.modules()
        if isinstance(parent, (nn.ModuleList, nn.Sequential))
        for member in parent
        if not isinstance(member, _CONTAINERS) and sum(p.numel() for p in member.parameters()) >= min_params
    }
    return [module for module in reversed([*model.modules()]) if module in members]


def is_sharded(module: nn.Module) -> bool:
    """Tell whether a model is sharded by :func:`shard_model`."""
    return isinstance(module, FSDPModule)


def to_full(value: Any) -> Any:
    """Gather every sharded tensor of a nested state, on the CPU. All ranks must call it.

    Args:
        value: The state: nested dicts, lists and tuples.

    Returns:
        The same with whole tensors.
    """
    if isinstance(value, DTensor):
        return value.full_tensor().detach().cpu()
    if isinstance(value, Mapping):
        kind: Any = type(value)
        return kind((key, to_full(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value)(to_full(item) for item in value)
    return value


def scatter_like(full: Tensor, like: Tensor) -> Tensor:
    """Return this rank's shard of a whole tensor where ``like`` is sharded, else the tensor on its device.

    Args:
        full: The whole tensor, the same on all ranks.
        like: A tensor of its shape.

    Returns:
        The shard or the tensor.
    """
    full = full.to(like.device)
    if not isinstance(like, DTensor) or full.shape != like.shape:
        return full
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def scatter_optimizer_state(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Shard an optimizer's whole state as its parameters are.

    Args:
        state: What ``state_dict`` gave, with whole tensors.
        optimizer: The optimizer that is to load it.

    Returns:
        A new state.
    """
    params = [param for group in optimizer.param_groups for param in group['params']]
    ids = [number for group in state['param_groups'] for number in group['params']]
    of_id = dict(zip(ids, params, strict=True))
    slots = {
        number: {
            name: scatter_like(value, of_id[number]) if isinstance(value, Tensor) and value.dim() else value
            for name, value in values.items()
        }
        for number, values in state['state'].items()
    }
    return dict(state) | dict(state=slots)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Keep all weights whole inside: ranks then need each other no more, and may run unequal numbers of batches.

    Without effect on a model that is not sharded.
    """
    if not is_sharded(module):
        yield
        return
    root: Any = module
    parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
    root.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
        root.set_reshard_after_forward(True)
