"""fp16 and bf16 on CPUs without arithmetic for them: products in fp32 of rounded inputs, rounded results.

There, torch runs half matrix products and convolutions as plain loops: a (1024, 384) x (384, 768) product took 247 ms
in bf16 where fp32 took 6 ms, a 3x3 convolution 282 where fp32 took 2.4. A GPU's tensor cores and a CPU's bf16
instructions multiply halves and add in fp32; so does this mode, and it costs little more than fp32. Everything else
(rounding, overflow of fp16 to infinity beyond 65504, loss scale) is the half precision as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from mmopt.utils.precision import DTYPES, relative_time, this_cpu

__all__ = ['EMULATED_OPERATORS', 'HalfOnCpu', 'autocast', 'emulation', 'emulation_cost']

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)
# Operator -> which of its results stay fp32 also where the operator computes in half.
_OPERATORS: dict[Any, tuple[int, ...]] = {
    _aten.mm.default: (),
    _aten.addmm.default: (),
    _aten.bmm.default: (),
    _aten.baddbmm.default: (),
    _aten.addbmm.default: (),
    _aten.mv.default: (),
    _aten.addmv.default: (),
    _aten.dot.default: (),
    _aten.convolution.default: (),
    _aten.convolution_backward.default: (),
    _aten._scaled_dot_product_flash_attention_for_cpu.default: (1,),  # the logarithm of the softmax's sum
    _aten._scaled_dot_product_flash_attention_for_cpu_backward.default: (),
    # The fast paths of nn.MultiheadAttention and nn.TransformerEncoderLayer in evaluation, and of nn.LSTM.
    _aten._native_multi_head_attention.default: (),
    _aten._transformer_encoder_layer_fwd.default: (),
    _aten.mkldnn_rnn_layer.default: (),
    _aten.mkldnn_rnn_layer_backward.default: (),
    # No products, but plain loops as well: 117, 7 and 20 times as long as in fp32.
    _aten.avg_pool2d_backward.default: (),
    _aten.max_pool2d_with_indices.default: (),
    _aten.upsample_nearest2d_backward.default: (),
}
_WITH_OUT = {
    _aten.mm.out: _aten.mm.default,
    _aten.addmm.out: _aten.addmm.default,
    _aten.bmm.out: _aten.bmm.default,
    _aten.baddbmm.out: _aten.baddbmm.default,
}
_IN_PLACE = {
    _aten.addmm_.default: _aten.addmm.default,
    _aten.baddbmm_.default: _aten.baddbmm.default,
    _aten.addbmm_.default: _aten.addbmm.default,
    _aten.addmv_.default: _aten.addmv.default,
}
EMULATED_OPERATORS = frozenset({*_OPERATORS, *_WITH_OUT, *_IN_PLACE})
"""What is computed in fp32."""


class HalfOnCpu(TorchDispatchMode):
    """Compute :data:`EMULATED_OPERATORS` of CPU halves in fp32 and round the results; others run as they are.

    Args:
        dtypes: The half precisions to emulate.
    """

    def __init__(self, dtypes: Sequence[torch.dtype] = _HALVES) -> None:
        super().__init__()
        self._dtypes = tuple(dtypes)

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in EMULATED_OPERATORS or (dtype := self._half_of(args)) is None:
            return func(*args, **kwargs)
        if func in _WITH_OUT:
            out = kwargs.pop('out')
            return out.copy_(self._compute(_WITH_OUT[func], dtype, args, kwargs))
        if func in _IN_PLACE:
            return args[0].copy_(self._compute(_IN_PLACE[func], dtype, args, kwargs))
        return self._compute(func, dtype, args, kwargs)

    def _half_of(self, args: tuple) -> torch.dtype | None:
        for arg in args:
            for item in arg if isinstance(arg, list | tuple) else (arg,):
                if isinstance(item, Tensor) and item.dtype in self._dtypes and item.device.type == 'cpu':
                    return item.dtype
        return None

    @staticmethod
    def _compute(func: Any, dtype: torch.dtype, args: tuple, kwargs: dict) -> Any:
        wide_args, wide_kwargs = tree_map_only(Tensor, _widen, (args, kwargs))
        results = func(*wide_args, **wide_kwargs)
        if isinstance(results, Tensor):
            return _narrow(results, dtype)
        kept = _OPERATORS[func]
        narrowed = (item if place in kept else _narrow(item, dtype) for place, item in enumerate(results))
        return type(results)(narrowed)


def _widen(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in _HALVES else tensor


def _narrow(result: Any, dtype: torch.dtype) -> Any:
    is_wide = isinstance(result, Tensor) and result.dtype is torch.float32
    return result.to(dtype) if is_wide else result


def emulation(device_type: str, dtype: torch.dtype) -> HalfOnCpu | nullcontext:
    """Return what a half-precision forward or backward pass on this device runs in.

    Args:
        device_type: ``'cpu'`` or ``'cuda'``.
        dtype: The type that is multiplied.

    Returns:
        :class:`HalfOnCpu` on a CPU without arithmetic for it, else a context that does nothing.
    """
    if device_type != 'cpu' or dtype not in _HALVES:
        return nullcontext()
    name = next(name for name, known in DTYPES.items() if known is dtype)
    return nullcontext() if this_cpu().support(name).is_native else HalfOnCpu((dtype,))


@contextmanager
def autocast(device_type: str, dtype: torch.dtype) -> Iterator[None]:
    """Run a mixed-precision forward pass: ``torch.autocast``, emulated where a CPU has no arithmetic for it.

    Args:
        device_type: ``'cpu'`` or ``'cuda'``.
        dtype: ``torch.float16``, ``torch.bfloat16``, or ``torch.float32``, which changes nothing.

    Yields:
        None: Nothing is entered before the ``with`` statement.
    """
    if dtype is torch.float32:
        yield
        return
    with emulation(device_type, dtype), torch.autocast(device_type, dtype):
        yield


def emulation_cost(dtype: torch.dtype) -> float:
    """Measure what the emulation costs here, in 0.1 s.

    Args:
        dtype: ``torch.float16`` or ``torch.bfloat16``.

    Returns:
        The time of a matrix product and a convolution over that of the same in fp32.
    """

    def work(kind: torch.dtype) -> list[Callable[[], Any]]:
        a, b = torch.ones(1024, 384, dtype=kind), torch.ones(384, 384, dtype=kind)
        x, weight = torch.ones(1, 64, 64, 64, dtype=kind), torch.ones(64, 64, 3, 3, dtype=kind)
        return [partial(torch.mm, a, b), partial(torch.nn.functional.conv2d, x, weight, padding=1)]

    def emulated(function: Callable[[], Any]) -> None:
        with HalfOnCpu((dtype,)):
            function()

    return relative_time(work(torch.float32), [partial(emulated, function) for function in work(dtype)])
