"""Count the floating point operations of a piece of code, fused attention included."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

__all__ = ['count_flops', 'flop_counter', 'flops_by_kind']

_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def _register_cpu_attention() -> None:
    """torch 2.13 has formulas for the fused attention of GPUs only; on a CPU it would count nothing."""
    if _ATTENTION in flop_registry:
        return

    # The counter hands shapes over in place of tensors. Forward: two products; backward: five, one of them repeated.
    @register_flop_formula(_ATTENTION)
    def forward(query: tuple, key: tuple, value: tuple, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        del args, out_shape, kwargs  # the counter's calling convention
        return 2 * _leading(query) * query[-2] * key[-2] * (query[-1] + value[-1])

    @register_flop_formula(_ATTENTION_BACKWARD)
    def backward(
        grad_out: tuple, query: tuple, key: tuple, value: tuple, *args: Any, out_shape: Any = None, **kwargs: Any
    ) -> int:
        del grad_out, args, out_shape, kwargs
        return 2 * _leading(query) * query[-2] * key[-2] * (3 * query[-1] + 2 * value[-1])


def _leading(shape: tuple) -> int:
    return int(torch.Size(shape[:-2]).numel())


@contextmanager
def _plain_recurrence() -> Iterator[None]:
    """Run recurrent layers as the products that they are: cuDNN's and oneDNN's fused ones have no formula."""
    libraries: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.mkldnn)
    before = [library.enabled for library in libraries]
    try:
        for library in libraries:
            library.enabled = False
        yield
    finally:
        for library, was in zip(libraries, before, strict=True):
            library.enabled = was


def flop_counter() -> FlopCounterMode:
    """Return torch's silent counter, which then knows fused attention on a CPU too."""
    _register_cpu_attention()
    return FlopCounterMode(display=False)


def count_flops(function: Callable[[], Any], *, recurrent: bool = False) -> int:
    """Run ``function`` once and count the operations of its matrix products, convolutions and attention.

    Args:
        function: What to run; backward passes inside it count too. Compiled parts run uncompiled.
        recurrent: Whether it has LSTM, GRU or RNN layers: their fused kernels, which count nothing, are then avoided.

    Returns:
        Operations; a multiplication and its addition are two. What is computed again (checkpointing) counts again.
    """
    return sum(flops_by_kind(function, recurrent=recurrent).values())


def flops_by_kind(function: Callable[[], Any], *, recurrent: bool = False) -> dict[str, int]:
    """Count as :func:`count_flops` does, convolutions and products apart: a GPU may compute them in other precisions.

    Args:
        function: What to run.
        recurrent: See :func:`count_flops`.

    Returns:
        Operations of each ``'convolution'`` and ``'product'``.
    """
    # A compiled graph hides its operators from the counter.
    with (
        torch.compiler.set_stance('force_eager'),
        _plain_recurrence() if recurrent else nullcontext(),
        flop_counter() as counter,
    ):
        function()
    found: Counter[str] = Counter(convolution=0, product=0)
    for operator, flops in counter.get_flop_counts().get('Global', {}).items():
        found['convolution' if 'conv' in str(operator) else 'product'] += flops
    return dict(found)
