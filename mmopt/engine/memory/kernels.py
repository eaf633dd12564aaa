"""What CUDA runs in place of the operators that a CPU runs, where that changes memory.

Attention, LSTM and GRU get the operator that a GPU would choose; convolutions, sorts and matrix products their
workspace. Sources: ``aten/src/ATen/native/transformers/cuda/sdp_utils.cpp`` (which attention),
``aten/src/ATen/native/cudnn/{RNN,Conv_v8}.cpp`` (reserve and workspace are blocks of the caching allocator),
``aten/src/ATen/cuda/CublasHandlePool.cpp`` (workspace per handle). docs/memory.md lists the rules and which of them
are assumptions that only a GPU can confirm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmopt.engine.memory.device import DEVICE_TYPE

__all__ = ['KernelModel', 'choose_attention', 'install_kernels']

_aten = torch.ops.aten
MIB = 1024**2

PREFERS_CUDNN = ((9, 0), (10, 0))
"""Cards on which torch, from 2.11 on with cuDNN after 9.15, asks cuDNN for attention before FlashAttention."""


@dataclass(frozen=True)
class KernelModel:
    """Numbers that PyTorch's sources do not give: libraries decide them at run time.

    Attributes:
        conv_workspace: Workspace of a convolution, as a share of its input, weight and output together. Tensor-core
            kernels want channels last: with channels-first tensors cuDNN keeps transposed copies.
        rnn_reserve: Values that a recurrent layer keeps per hidden unit, step and sample: an LSTM's four gates, cell
            and output are 6, a GRU counts 5/6 of it.
        blas_workspace: Bytes per cuBLAS handle; forward and backward thread have one each.
        capability: CUDA compute capability: which attention the card prefers.
    """

    conv_workspace: float = 0.5
    rnn_reserve: float = 6.0
    blas_workspace: int = 8_519_680  # :4096:2:16:8, 8.125 MiB
    capability: tuple[int, int] = (8, 0)

    def workspace(self, func: Any, args: Sequence[Any], out: Any) -> int:
        """Return the bytes that a kernel takes and gives back; see :data:`mmopt.engine.memory.trace.Workspace`."""
        if func is _aten.convolution.default:
            return self._conv([args[0], args[1], out])
        if func is _aten.convolution_backward.default:
            return self._conv(args[:3])
        if func in (_aten.sort.default, _aten.sort.stable, _aten.topk.default) and _on_device(args[0]):
            # Radix sort reads from one pair of buffers and writes to another.
            return args[0].numel() * (args[0].element_size() + 8)
        if func is _aten.index_put.default or func is _aten._index_put_impl_.default:
            # Accumulating sorts the linear index: two pairs of int64.
            accumulates = len(args) > 3 and args[3]
            return 4 * 8 * args[2].numel() // max(args[2].element_size(), 1) if accumulates else 0
        return 0

    def _conv(self, tensors: Sequence[Any]) -> int:
        tensors = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
        if not tensors or not _on_device(tensors[0]):
            return 0
        last = torch.channels_last if tensors[0].dim() == 4 else torch.channels_last_3d
        if tensors[0].dim() in (4, 5) and tensors[0].is_contiguous(memory_format=last):
            return 0
        return int(self.conv_workspace * sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _on_device(tensor: Any) -> bool:
    return isinstance(tensor, Tensor) and tensor.device.type == DEVICE_TYPE


def choose_attention(query: Tensor, mask: Tensor | None, capability: tuple[int, int] = (8, 0)) -> str:
    """Say which attention CUDA runs, in PyTorch's order of preference.

    Args:
        query: (B, heads, L, E).
        mask: Bias or boolean mask.
        capability: CUDA compute capability.

    Returns:
        ``'cudnn'``, ``'flash'``, ``'efficient'`` or ``'math'``.
    """
    half = query.dtype in (torch.float16, torch.bfloat16)
    size = query.shape[-1]
    if query.dim() != 4:
        return 'math'
    if capability in PREFERS_CUDNN and half and size % 8 == 0 and size <= 128 and not _is_trained(mask):
        return 'cudnn'
    if capability >= (8, 0) and half and mask is None and size <= 256:
        return 'flash'
    if query.dtype is not torch.float64 and size % (8 if half else 4) == 0:
        return 'efficient'
    return 'math'


def _is_trained(mask: Tensor | None) -> bool:
    return mask is not None and mask.requires_grad and torch.is_grad_enabled()


def _attention(
    capability: tuple[int, int],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    kind = choose_attention(query, attn_mask, capability)
    if kind == 'math' or enable_gqa:
        return _aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]
    if kind == 'flash':
        size = query.shape[-1]
        # FlashAttention wants head sizes of multiples of 8 and is given padded copies; the scale stays the true size's.
        scale = size**-0.5 if scale is None else scale
        padded = [F.pad(tensor, (0, -size % 8)) if size % 8 else tensor for tensor in (query, key, value)]
        out = _aten._scaled_dot_product_flash_attention(*padded, dropout_p, is_causal, False, scale=scale)[0]
        return out[..., :size]
    if attn_mask is not None:
        if attn_mask.dtype is torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, float('-inf'))
        length = attn_mask.shape[-1]
        if length % 8 and kind == 'efficient':
            # Rows of a bias must begin at multiples of 16 bytes.
            attn_mask = F.pad(attn_mask, (0, -length % 8))[..., :length]
        attn_mask = attn_mask.expand(*query.shape[:-1], key.shape[-2])
    log_sum = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (query, key, value, attn_mask)
    )
    if kind == 'cudnn':
        return _aten._scaled_dot_product_cudnn_attention(
            query, key, value, attn_mask, log_sum, dropout_p, is_causal, False, scale=scale
        )[0]
    return _aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, log_sum, dropout_p, is_causal, scale=scale
    )[0]


class _Recurrent(torch.autograd.Function):
    """cuDNN's recurrent layers: one operator, with a reserve that lives from forward to backward."""

    @staticmethod
    def forward(ctx, kept: float, layers: int, directions: int, batch_first: bool, inputs: Tensor, *weights: Tensor):
        hidden = weights[1].shape[-1]
        # cuDNN reads time first: another layout is copied, and all weights lie in one buffer.
        inputs = inputs.transpose(0, 1).contiguous() if batch_first and inputs.dim() == 3 else inputs.contiguous()
        buffer = inputs.new_empty(sum(weight.numel() for weight in weights))
        out = inputs.new_empty(*inputs.shape[:-1], hidden * directions)
        state = inputs.new_empty(layers * directions, *inputs.shape[1:-1], hidden)
        places = inputs.shape[:-1].numel()
        reserve = int(kept * layers * directions * places * hidden * inputs.element_size())
        ctx.save_for_backward(inputs, buffer, out, inputs.new_empty(reserve, dtype=torch.uint8), *weights)
        ctx.batch_first = batch_first
        shown = out.transpose(0, 1) if batch_first and out.dim() == 3 else out
        return shown, state, torch.empty_like(state)

    @staticmethod
    def backward(ctx, grad_out: Tensor, *grads_state: Tensor):
        inputs, buffer, _, _, *weights = ctx.saved_tensors
        grad_out.contiguous()
        grad_inputs = torch.empty_like(inputs)
        grad_buffer = torch.empty_like(buffer)
        offset, grads = 0, []
        for weight in weights:
            grads.append(grad_buffer[offset : offset + weight.numel()].view_as(weight))
            offset += weight.numel()
        shown = grad_inputs.transpose(0, 1) if ctx.batch_first and grad_inputs.dim() == 3 else grad_inputs
        return None, None, None, None, shown, *grads


def _recurrent(values_per_unit: float):
    def run(
        inputs: Tensor,
        hx: Any,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        del hx, has_biases, dropout, train  # they change no size
        if torch.is_autocast_enabled(DEVICE_TYPE):
            dtype = torch.get_autocast_dtype(DEVICE_TYPE)
            inputs, params = inputs.to(dtype), [param.to(dtype) for param in params]
        return _Recurrent.apply(values_per_unit, num_layers, 1 + bidirectional, batch_first, inputs, *params)

    return run


_FUSED_STEPS = [
    f'_fused_{name}_{overload}' for name in ('sgd', 'adagrad', 'adam', 'adamw') for overload in ('', '.tensor_lr')
]
"""Optimizer steps in one kernel that torch does not let fake tensors run: they write in place and take nothing."""


def _write_in_place(*args: Any, **kwargs: Any) -> None:
    del args, kwargs


def install_kernels(model: KernelModel) -> list[torch.library.Library]:
    """Give the simulated GPU CUDA's operators; once per process.

    Args:
        model: What the libraries take.

    Returns:
        The registrations; they hold as long as they live.
    """
    library = torch.library.Library('aten', 'IMPL', 'AutogradPrivateUse1')
    library.impl('scaled_dot_product_attention', partial(_attention, model.capability))
    lstm, gru = _recurrent(model.rnn_reserve), _recurrent(model.rnn_reserve * 5 / 6)
    library.impl('lstm.input', lstm)
    library.impl('gru.input', lambda *args: gru(*args)[:2])
    steps = torch.library.Library('aten', 'IMPL', 'Meta')
    for name in _FUSED_STEPS:
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f'aten::{name}', 'Meta'):
            steps.impl(name, _write_in_place)
    return [library, steps]
