"""Which wrapper a model gets where several processes train it: DDP with our defaults, or FSDP2."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmopt.engine.parallel.fsdp import shard_model
from mmopt.utils.distributed import local_rank
from mmopt.utils.type_names import type_names

__all__ = ['needs_mmengine', 'wrap_distributed']

OWN = ('MMDistributedDataParallel', 'DistributedDataParallel', 'FSDP')


def needs_mmengine(config: Mapping[str, Any] | None) -> bool:
    """Tell whether a `model_wrapper_cfg` names a wrapper that MMEngine builds.

    Args:
        config: The section; None and one without a type mean DDP.

    Returns:
        Whether it is foreign.
    """
    return config is not None and type_names(config.get('type', OWN[0]))[0] not in OWN


def wrap_distributed(model: nn.Module, config: Mapping[str, Any] | None, *, find_unused_parameters: bool) -> nn.Module:
    """Wrap a model in DDP, or shard it. All ranks must call it.

    Args:
        model: On its device.
        config: The `model_wrapper_cfg`; what it says goes to the wrapper.
        find_unused_parameters: What DDP does where the section does not say.

    Returns:
        The wrapped model.
    """
    options = {key: value for key, value in (config or {}).items() if key != 'type'}
    if (config or {}).get('type') == 'FSDP':
        initialize: Any = getattr(model, 'init_weights', None)
        if initialize is not None:
            initialize()  # whole weights, now; MMEngine does it when they are shards
        return shard_model(model, **options)
    options.setdefault('broadcast_buffers', False)
    options.setdefault('find_unused_parameters', find_unused_parameters)
    device_ids = [local_rank()] if torch.cuda.is_available() else None
    return MMDistributedDataParallel(model, device_ids=device_ids, **options)
