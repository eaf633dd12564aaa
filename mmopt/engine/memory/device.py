"""A GPU that holds no memory and computes nothing: a device type of its own for fake tensors.

Fake CUDA tensors run forward only where no GPU is: the C++ autograd engine asks for a CUDA context in the backward
pass. Fake CPU tensors run, but with the CPU's autocast rules, operators and code paths (``device.type == 'cpu'``), and
nothing tells a batch in host memory from one on the device. PyTorch's slot for private backends has none of this: the
device is not the CPU, its autocast rules are free to be written (:mod:`mmopt.engine.memory.autocast`), and the engine
asks a Python device guard.

Registering is global and cannot be undone: estimates run in a process of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from mmopt.utils.memory import SIMULATED_DEVICE as DEVICE_TYPE

__all__ = ['DEVICE_TYPE', 'is_registered', 'register_device']


class _DeviceModule:
    """What torch looks up as ``torch.<device type>``."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def synchronize(device: Any = None) -> None:
        del device

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        del seed

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    # Checkpointing keeps the random state of the device; on CUDA too these tensors lie on the host.
    @staticmethod
    def get_rng_state(device: Any = None) -> torch.Tensor:
        del device
        return torch.zeros(16, dtype=torch.uint8)

    @staticmethod
    def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
        del state, device

    @staticmethod
    @contextmanager
    def device(index: Any) -> Iterator[None]:
        del index
        yield


def is_registered() -> bool:
    """Tell whether :func:`register_device` ran in this process."""
    return torch._C._get_privateuse1_backend_name() == DEVICE_TYPE


# The libraries that were registered.
_KEPT: list[torch.library.Library] = []


def register_device() -> torch.device:
    """Make the device type known to torch; again is no harm.

    Returns:
        The device.

    Raises:
        RuntimeError: If another backend has the slot.
    """
    name = torch._C._get_privateuse1_backend_name()
    if name not in ('privateuseone', DEVICE_TYPE):
        raise RuntimeError(f"torch's slot for a private backend is taken by {name!r}: estimate without that package.")
    if not is_registered():
        _setup_privateuseone_for_python_backend(DEVICE_TYPE, backend_module=_DeviceModule())
        # Kept for the life of the process: a library undoes its registrations when it is collected.
        library = torch.library.Library('_', 'IMPL', 'AutocastPrivateUse1')
        _KEPT.append(library)
        library.fallback(torch.library.fallthrough_kernel)
    return torch.device(DEVICE_TYPE, 0)
