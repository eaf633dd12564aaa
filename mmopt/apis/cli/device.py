"""Choose the GPU before anything starts CUDA.

Use this before mmengine is imported, which asks CUDA for its devices: afterwards nobody reads ``CUDA_VISIBLE_DEVICES``.
"""

import os
from collections.abc import Sequence

from mmopt.utils.errors import UserError

__all__ = ['select_gpus', 'visible_devices']


def visible_devices(current: str | None, ids: Sequence[int], num_devices: int) -> str:
    """Return the new value of ``CUDA_VISIBLE_DEVICES``.

    Args:
        current: The value in the environment: ids count within it, as they do in torch.
        ids: What the user chose.
        num_devices: Devices that are visible now.

    Returns:
        Comma-separated devices.

    Raises:
        UserError: If an id does not exist.
    """
    absent = [index for index in ids if not 0 <= index < num_devices]
    if absent:
        within = f' within CUDA_VISIBLE_DEVICES={current}' if current else ''
        raise UserError(f'--gpu-ids {absent[0]}: there are {num_devices} GPUs{within}, numbered from 0.')
    names = current.split(',') if current else [str(index) for index in range(num_devices)]
    return ','.join(names[index].strip() for index in ids)


def select_gpus(ids: Sequence[int] | None) -> str | None:
    """Make only these GPUs visible to this process.

    Args:
        ids: GPU ids; None leaves everything as it is.

    Returns:
        A warning if there is no GPU, so the CPU is used.
    """
    if not ids:
        return None
    import torch

    count = torch.cuda.device_count()  # through NVML: does not start CUDA
    if not count:
        return f'--gpu-ids {" ".join(map(str, ids))}: no usable GPU here, running on the CPU.'
    os.environ['CUDA_VISIBLE_DEVICES'] = visible_devices(os.environ.get('CUDA_VISIBLE_DEVICES'), ids, count)
    return None
