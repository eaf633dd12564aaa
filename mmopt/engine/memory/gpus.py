"""GPUs by name: how much memory PyTorch finds on them, and what a process takes before its first tensor.

``total_gib`` is ``torch.cuda.get_device_properties(0).total_memory`` as PyTorch's out-of-memory messages give it in
public reports ("GPU 0 has a total capacity of 31.36 GiB"). It depends on the driver by up to 0.15 GiB; where reports
differ, the smaller one of a recent driver is taken. Where a card is at hand its own figure is right, and ``--budget``
takes it. The context (driver, kernels that are loaded lazily, cuDNN) is a range that depends on driver and CUDA
version: ``benchmarks/memory_estimate.py`` measures it where a GPU is at hand.
"""

import re
from dataclasses import dataclass

from mmopt.utils.errors import UserError
from mmopt.utils.memory import GIB
from mmopt.utils.terminal import nearest

__all__ = ['GPUS', 'Budget', 'Gpu', 'parse_bytes', 'parse_gpu']


@dataclass(frozen=True)
class Gpu:
    """A card.

    Attributes:
        total_gib: What PyTorch finds.
        capability: CUDA compute capability.
    """

    total_gib: float
    capability: tuple[int, int]

    @property
    def context_gib(self) -> tuple[float, float, float]:
        """Memory outside of PyTorch's allocator: least, expected, most. Not calibrated."""
        if self.capability >= (9, 0):
            return 0.45, 0.6, 0.9
        if self.capability >= (8, 0):
            return 0.25, 0.4, 0.6
        return 0.2, 0.35, 0.6

    @property
    def blas_workspace(self) -> int:
        """Bytes per cuBLAS handle: 32 MiB on compute capability 9.0, else 8.125 MiB (PyTorch's CUDA semantics)."""
        return 32 * 1024**2 if self.capability == (9, 0) else 8_519_680


GPUS: dict[str, Gpu] = {
    'gtx1660': Gpu(5.64, (7, 5)),
    'rtx2060': Gpu(5.65, (7, 5)),
    'rtx3070': Gpu(7.63, (8, 6)),
    'rtx4060': Gpu(7.63, (8, 9)),
    'rtx3080': Gpu(9.77, (8, 6)),
    'rtx2080ti': Gpu(10.75, (7, 5)),
    'rtx3060': Gpu(11.63, (8, 6)),
    'rtx4070': Gpu(11.62, (8, 9)),
    't4': Gpu(14.56, (7, 5)),
    'rtx4080': Gpu(15.57, (8, 9)),
    'rtx5080': Gpu(15.46, (12, 0)),
    'v100': Gpu(15.77, (7, 0)),
    'v100-32g': Gpu(31.73, (7, 0)),
    'a10': Gpu(22.06, (8, 6)),
    'l4': Gpu(22.03, (8, 9)),
    'rtx3090': Gpu(23.69, (8, 6)),
    'rtx4090': Gpu(23.64, (8, 9)),
    'rtx5090': Gpu(31.36, (12, 0)),
    'a100': Gpu(39.39, (8, 0)),
    'l40s': Gpu(44.39, (8, 9)),
    'a6000': Gpu(47.40, (8, 6)),
    'a100-80g': Gpu(79.15, (8, 0)),
    'h100': Gpu(79.18, (9, 0)),
    'h200': Gpu(139.80, (9, 0)),
}

_UNITS = {'': 1, 'b': 1, 'kib': 1024, 'mib': 1024**2, 'gib': GIB, 'kb': 10**3, 'mb': 10**6, 'gb': 10**9, 'g': GIB}


def parse_bytes(text: str, option: str) -> int:
    """Read an amount of memory: ``24GiB``, ``24g`` (the same), ``25.8GB`` (10^9), ``800MiB``.

    Args:
        text: The amount.
        option: For the error.

    Returns:
        Bytes.

    Raises:
        UserError: If it is no amount.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*', text)
    if not match or match[2].lower() not in _UNITS or float(match[1]) == 0:
        raise UserError(f'{option} must be an amount of memory as 24GiB, 800MiB or 25.8GB (10^9 bytes), got {text!r}.')
    return int(float(match[1]) * _UNITS[match[2].lower()])


@dataclass(frozen=True)
class Budget:
    """Memory of a card, with what it is called.

    Attributes:
        name: For people.
        total_bytes: All of it.
        gpu: Its other numbers; of an amount given in bytes, those of an Ampere card.
    """

    name: str
    total_bytes: int
    gpu: Gpu


def parse_gpu(name: str) -> Budget:
    """Look a card up by name; case, spaces and a leading ``NVIDIA GeForce`` do not matter.

    Args:
        name: ``rtx3090``, ``RTX 3090``, ``NVIDIA H200``.

    Returns:
        Its memory.

    Raises:
        UserError: If it is not known; names those that are alike.
    """
    key = re.sub(r'nvidia|geforce|[\s_]', '', name.lower())
    if key not in GPUS:
        near = nearest(key, GPUS)
        hint = f'did you mean {" or ".join(near)}?' if near else f'known: {", ".join(GPUS)}.'
        raise UserError(f'--gpu {name}: not a known card; {hint} --budget 24GiB takes any amount.')
    gpu = GPUS[key]
    return Budget(key, int(gpu.total_gib * GIB), gpu)
