"""fp16 on CPUs without fp16 arithmetic: round to half, multiply in fp32.

There, torch runs half matrix products and convolutions as plain loops: a (5000, 384) x (384, 768) product took 1.9 s
where fp32 took 0.08 s. A GPU's tensor cores multiply halves and add in fp32; so does this mode, and it costs little
more than fp32. Everything else (values, overflow to infinity beyond 65504, loss scale) is fp16 as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ['HalfOnCpu', 'autocast', 'cpu_multiplies_halves']

_aten = torch.ops.aten
_PRODUCTS = {
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten.baddbmm.default,
    _aten.convolution.default,
    _aten.convolution_backward.default,
}


class HalfOnCpu(TorchDispatchMode):
    """Compute products of CPU halves in fp32 and round the result; all other operators run as they are."""

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or not any(_is_cpu_half(arg) for arg in args):
            return func(*args, **kwargs)
        result = func(*tree_map_only(Tensor, _widen, args), **kwargs)
        return tree_map_only(Tensor, Tensor.half, result)


def cpu_multiplies_halves() -> bool:
    """Tell whether this CPU has fp16 arithmetic (AVX512-FP16, AMX-FP16, Arm's) that torch's oneDNN uses."""
    return torch.ops.mkldnn._is_mkldnn_fp16_supported()  # what torch.compile asks; there is no public name for it


def _is_cpu_half(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype is torch.float16 and value.device.type == 'cpu'


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype is torch.float16 else tensor


@contextmanager
def autocast(device_type: str, dtype: torch.dtype) -> Iterator[None]:
    """Run a mixed-precision forward pass: ``torch.autocast``, on a CPU without fp16 arithmetic with :class:`HalfOnCpu`.

    Args:
        device_type: ``'cpu'`` or ``'cuda'``.
        dtype: ``torch.float16`` or ``torch.bfloat16``.

    Yields:
        None: Nothing is entered before the ``with`` statement.
    """
    emulated = device_type == 'cpu' and dtype is torch.float16 and not cpu_multiplies_halves()
    with HalfOnCpu() if emulated else nullcontext(), torch.autocast(device_type, dtype):
        yield
