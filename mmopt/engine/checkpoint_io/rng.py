"""Random state of a process: Python, NumPy, torch on the CPU and on its GPUs, as plain types."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ['rng_state', 'set_rng_state']


def rng_state() -> dict:
    """Return the state of every global generator of this process.

    Returns:
        ``python``, ``numpy``, ``torch`` and ``cuda`` (one entry per device; empty where CUDA was never used); on a Mac
        with a GPU ``mps``.
    """
    state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, cached = state
    # Asking an untouched CUDA for its state would start it, which costs memory on every device.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return dict(
        python=random.getstate(),
        numpy=dict(
            name=name,
            keys=torch.from_numpy(keys.astype(np.int64)),
            position=int(position),
            has_gauss=int(has_gauss),
            cached=float(cached),
        ),
        torch=torch.get_rng_state(),
        cuda=cuda,
        **(dict(mps=torch.mps.get_rng_state()) if torch.backends.mps.is_available() else {}),
    )


def set_rng_state(state: Mapping) -> None:
    """Restore what :func:`rng_state` returned.

    Args:
        state: The state; CUDA states beyond the devices of this process are ignored.
    """
    version, internal, gauss_next = state['python']
    random.setstate((version, tuple(internal), gauss_next))
    numpy_state = state['numpy']
    keys = numpy_state['keys'].cpu().numpy().astype(np.uint32)
    np.random.set_state(
        (numpy_state['name'], keys, numpy_state['position'], numpy_state['has_gauss'], numpy_state['cached'])
    )
    torch.set_rng_state(state['torch'].cpu())
    if torch.cuda.is_available():
        for device, device_state in enumerate(state['cuda'][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(device_state.cpu(), device)
    if 'mps' in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state['mps'].cpu())
