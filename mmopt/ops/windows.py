"""Shifted windows of Swin: which token goes where, which pairs may see each other, and attention inside the windows.

Paper: Liu et al., "Swin Transformer", ICCV 2021, https://arxiv.org/abs/2103.14030
Deviations: padding, cyclic shift and partition are one gather by a cached index, and so is the way back (the usual
pad, roll, view and permute copy the map up to three times each way). Padding tokens are zeros and take part in the
attention of their window, as in the official detection code.

Shape letters: B images, H W map, K windows of the whole batch, N tokens per window, S heads, E channels per head,
C = S E channels, T tokens of the whole batch in map order.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    'WindowLayout',
    'merge_windows',
    'partition_windows',
    'relative_position_index',
    'window_attention',
    'window_layout',
]


class WindowLayout(NamedTuple):
    """How the tokens of a batch of maps are cut into windows.

    Attributes:
        token: For every place in a window, the token that stands there (0 at padding). Shape ``(K N,)``.
        padding: The places in a window that are padding. Shape ``(number of them,)``.
        place: For every token, its place in the windows. Shape ``(T,)``.
        bias: 0 where two tokens of a window may see each other, -100 where the cyclic shift brought strangers
            together; ``(windows per image, 1, N, N)``, or None without a shift.
    """

    token: Tensor
    padding: Tensor
    place: Tensor
    bias: Tensor | None


@lru_cache(maxsize=64)
def window_layout(
    batch_size: int, height: int, width: int, window: int, shift: int, device: torch.device
) -> WindowLayout:
    """Return the layout for maps of one size; cached, so that no step rebuilds it.

    Args:
        batch_size: Images; 1 while a graph is exported, whose batch is open.
        height: Rows of the map.
        width: Columns of the map.
        window: Side of a window; N is its square.
        shift: Cyclic shift up and left before the cut, less than ``window``.
        device: Where the tensors live.

    Returns:
        The layout.
    """
    # Tensors made under inference_mode could never enter a training step, and this cache outlives both.
    with torch.inference_mode(False), torch.no_grad():
        pad = (0, -width % window, 0, -height % window)
        token_HW = F.pad(torch.arange(height * width).view(height, width), pad, value=-1)
        token_HW = torch.roll(token_HW, (-shift, -shift), (0, 1))
        per_image = _cut(token_HW, window).flatten()
        offset_B1 = torch.arange(batch_size)[:, None] * height * width
        token = torch.where(per_image >= 0, per_image + offset_B1, -1).flatten()
        padding = (token < 0).nonzero().flatten()
        real = (token >= 0).nonzero().flatten()
        place = torch.empty(batch_size * height * width, dtype=torch.long)
        place[token[real]] = real
        bias = _shift_bias((token_HW.shape[0], token_HW.shape[1]), window, shift) if shift else None
        token, padding, place = (part.to(device) for part in (token.clamp_(min=0), padding, place))
        return WindowLayout(token, padding, place, None if bias is None else bias.to(device))


def _cut(map_HW: Tensor, window: int) -> Tensor:
    """Cut a map whose sides the window divides: ``(windows, N)``."""
    height, width = map_HW.shape
    cut = map_HW.view(height // window, window, width // window, window).transpose(1, 2)
    return cut.reshape(-1, window * window)


def _shift_bias(size: tuple[int, int], window: int, shift: int) -> Tensor:
    # After the shift the last window of an axis holds two regions that are no neighbors in the image.
    axes = []
    for length in size:
        region = torch.zeros(length)
        region[-window:-shift] = 1
        region[-shift:] = 2
        axes.append(region)
    region_KN = _cut(axes[0][:, None] * 3 + axes[1], window)
    strangers_KNN = region_KN[:, None, :] != region_KN[:, :, None]
    return (strangers_KNN.float() * -100.0)[:, None]


def relative_position_index(window: int) -> Tensor:
    """Return for every pair of tokens of a window the row of the relative position table, ``(N, N)``."""
    axis = torch.arange(window)
    place_2N = torch.stack(torch.meshgrid(axis, axis, indexing='ij')).flatten(1)
    offset_2NN = place_2N[:, :, None] - place_2N[:, None, :] + window - 1
    return offset_2NN[0] * (2 * window - 1) + offset_2NN[1]


class _Gather(torch.autograd.Function):
    """Rows by index, some of them zero. The backward is a gather too, since each row is used once."""

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, zeros: Tensor | None, inverse: Tensor, inverse_zeros: Tensor | None):
        ctx.save_for_backward(index, zeros, inverse, inverse_zeros)
        return _gather(rows, index, zeros)

    @staticmethod
    def backward(ctx, grad: Tensor):
        _, _, inverse, inverse_zeros = ctx.saved_tensors
        return _gather(grad.contiguous(), inverse, inverse_zeros), None, None, None, None


def _gather(rows: Tensor, index: Tensor, zeros: Tensor | None) -> Tensor:
    out = rows.index_select(0, index)
    return out if zeros is None else out.index_fill_(0, zeros, 0.0)


def _gather_each(rows: Tensor, index: Tensor, zeros: Tensor | None, rows_per_image: int) -> Tensor:
    """Gather image by image, by the layout of one: in a graph whose batch is open."""
    out = rows.unflatten(0, (-1, rows_per_image)).index_select(1, index)
    return (out if zeros is None else out.index_fill(1, zeros, 0.0)).flatten(0, 1)


def partition_windows(tokens_TC: Tensor, layout: WindowLayout) -> Tensor:
    """Bring tokens from map order into window order, ``(K N, C)``, zeros at padding."""
    if torch.compiler.is_exporting():
        return _gather_each(tokens_TC, layout.token, layout.padding, len(layout.place))
    return _Gather.apply(tokens_TC, layout.token, layout.padding, layout.place, None)


def merge_windows(windows_KNC: Tensor, layout: WindowLayout) -> Tensor:
    """Bring tokens from window order ``(K N, C)`` back into map order ``(T, C)``, padding left out."""
    if torch.compiler.is_exporting():
        return _gather_each(windows_KNC, layout.place, None, len(layout.token))
    return _Gather.apply(windows_KNC, layout.place, None, layout.token, layout.padding)


def window_attention(qkv_KNC: Tensor, bias_SNN: Tensor, layout_bias: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Attend within every window.

    On a CPU, ``scaled_dot_product_attention`` has no fused backward for a bias that is itself trained and falls back
    to float32 products, twice slower in bfloat16 than the five batched products written out here.

    Args:
        qkv_KNC: Queries, keys and values of every token, ``(K, N, 3 C)``, in this order.
        bias_SNN: Relative position bias of every head.
        layout_bias: :attr:`WindowLayout.bias`.
        dropout: Probability of dropping an attention weight.

    Returns:
        ``(K, N, C)``.
    """
    if qkv_KNC.device.type == 'cpu' and not dropout and torch.is_grad_enabled():
        return _CpuWindowAttention.apply(qkv_KNC, bias_SNN, layout_bias)
    num_windows, num_tokens, width = qkv_KNC.shape
    bias_KSNN = bias_SNN[None].to(qkv_KNC.dtype)
    if layout_bias is not None:
        bias_KSNN = bias_KSNN + layout_bias.to(qkv_KNC.dtype)
        bias_KSNN = bias_KSNN.repeat(num_windows // len(bias_KSNN), 1, 1, 1)
    q, k, v = qkv_KNC.view(num_windows, num_tokens, 3, len(bias_SNN), -1).permute(2, 0, 3, 1, 4)
    out_KSNE = F.scaled_dot_product_attention(q, k, v, attn_mask=bias_KSNN, dropout_p=dropout)
    return out_KSNE.transpose(1, 2).reshape(num_windows, num_tokens, width // 3)


class _CpuWindowAttention(torch.autograd.Function):
    """Attention as batched products that keep the probabilities for the backward pass."""

    @staticmethod
    def forward(ctx, qkv_KNC: Tensor, bias_SNN: Tensor, layout_bias: Tensor | None) -> Tensor:
        K, N, width = qkv_KNC.shape
        S = len(bias_SNN)
        E = width // (3 * S)
        qkv = qkv_KNC.view(K, N, 3, S, E).permute(2, 0, 3, 1, 4).contiguous().view(3, K * S, N, E)
        q, k, v = qkv.unbind(0)
        q.mul_(E**-0.5)
        # Scores of half type become float32 here: more exact, and torch's softmax is twice as fast on them.
        score = bias_SNN + torch.bmm(q, k.transpose(1, 2)).view(K, S, N, N)
        if layout_bias is not None:
            score.view(-1, len(layout_bias), S, N, N).add_(layout_bias)
        prob = score.softmax(-1).to(qkv.dtype).view(K * S, N, N)
        ctx.save_for_backward(qkv, prob)
        ctx.bias_type = bias_SNN.dtype
        return torch.bmm(prob, v).view(K, S, N, E).transpose(1, 2).reshape(K, N, S * E)

    @staticmethod
    def backward(ctx, grad_KNC: Tensor) -> tuple[Tensor, Tensor, None]:
        qkv, prob = ctx.saved_tensors
        q, k, v = qkv.unbind(0)
        K, N, C = grad_KNC.shape
        E = q.shape[-1]
        S = C // E
        grad = grad_KNC.view(K, N, S, E).transpose(1, 2).reshape(K * S, N, E)
        grad_qkv = torch.empty_like(qkv)
        torch.bmm(prob.transpose(1, 2), grad, out=grad_qkv[2])
        grad_score = torch._softmax_backward_data(torch.bmm(grad, v.transpose(1, 2)), prob, -1, prob.dtype)
        grad_bias = grad_score.view(K, S, N, N).sum(0, dtype=ctx.bias_type)
        torch.bmm(grad_score, k, out=grad_qkv[0]).mul_(E**-0.5)
        torch.bmm(grad_score.transpose(1, 2), q, out=grad_qkv[1])
        return grad_qkv.view(3, K, S, N, E).permute(1, 3, 0, 2, 4).reshape(K, N, 3 * C), grad_bias, None
