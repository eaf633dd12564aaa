"""Linear recurrences in parallel, and the selective state-space scan of Mamba on top of them.

Paper: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", https://arxiv.org/abs/2312.00752;
the parallel prefix is Blelloch's (1990) with linear work: products of decays only, never a division by one, so decays
near 0 are exact. Deviation from the paper's kernel: plain PyTorch, chunk by chunk, with a chunk's states recomputed in
the backward pass, so that memory grows with L * D and not with L * D * N.

Shape letters: B batch, L length, D channels, N states per channel.
"""

import functools
import importlib
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mmopt.utils.memory import SIMULATED_DEVICE

__all__ = ['linear_scan', 'selective_scan']


def linear_scan(decay: Tensor, drive: Tensor) -> Tensor:
    """Solve h[t] = decay[t] * h[t-1] + drive[t] with h[-1] = 0, for all t in log2(L) parallel steps.

    Args:
        decay: (B, L, ...).
        drive: The same shape.

    Returns:
        All h, of the same shape. The backward pass keeps ``decay`` and h alone.

    Raises:
        ValueError: If the shapes differ or L is 0.
    """
    if decay.shape != drive.shape or decay.dim() < 2 or not decay.shape[1]:
        raise ValueError(
            f'linear_scan: decay {tuple(decay.shape)} and drive {tuple(drive.shape)} must have one shape (B, L, ...) '
            'with L at least 1.'
        )
    return _LinearScan.apply(decay, drive)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, decay: Tensor, drive: Tensor) -> Tensor:
        state = _scan(decay, drive)
        ctx.save_for_backward(decay, state)
        return state

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        decay, state = ctx.saved_tensors
        # What reaches h[t] is its own gradient and, decayed, all that reaches h[t+1]: the same recurrence backwards.
        next_decay = torch.cat((decay[:, 1:], torch.zeros_like(decay[:, :1])), dim=1)
        grad_drive = _scan(next_decay.flip(1), grad.flip(1)).flip(1)
        grad_decay = torch.cat((torch.zeros_like(state[:, :1]), grad_drive[:, 1:] * state[:, :-1]), dim=1)
        return grad_decay, grad_drive


def _scan(decay: Tensor, drive: Tensor) -> Tensor:
    length = decay.shape[1]
    if length == 1:
        return drive.clone()
    if decay.device.type == SIMULATED_DEVICE:
        return _take_as_scan(drive)
    pairs = length // 2
    second = slice(1, 2 * pairs, 2)
    # Two steps make one; half as long a scan gives every second state, and one more step each of the others.
    decay_pairs = decay[:, second] * decay[:, 0 : 2 * pairs : 2]
    drive_pairs = torch.addcmul(drive[:, second], decay[:, second], drive[:, 0 : 2 * pairs : 2])
    every_second = _scan(decay_pairs, drive_pairs)
    state = torch.empty_like(drive)
    state[:, second] = every_second
    state[:, 0] = drive[:, 0]
    between = (length - 1) // 2
    state[:, 2::2] = torch.addcmul(drive[:, 2::2], decay[:, 2::2], every_second[:, :between])
    return state


def _take_as_scan(drive: Tensor) -> Tensor:
    """Allocate what :func:`_scan` does at its peak: its tens of thousands of steps would take a minute to trace."""
    length = drive.shape[1]
    pairs, between = length // 2, (length - 1) // 2
    # Products of decays, sums, every second state; then the result and the states between.
    parts = [torch.empty_like(drive[:, :count]) for count in (pairs, pairs, pairs)]
    parts += [torch.empty_like(drive), torch.empty_like(drive[:, :between])]
    return parts[3]


def selective_scan(
    input_BLD: Tensor,
    step_BLD: Tensor,
    decay_DN: Tensor,
    write_BLN: Tensor,
    read_BLN: Tensor,
    skip_D: Tensor,
    *,
    chunk: int = 64,
) -> Tensor:
    """Run Mamba's recurrence: h[t] = exp(step[t] * decay) * h[t-1] + step[t] * write[t] * input[t]; read it off.

    Everything is computed in float32. On a GPU with ``mamba-ssm`` installed its fused kernel does the same.

    Args:
        input_BLD: What is written.
        step_BLD: Step sizes, positive.
        decay_DN: Rates A, negative.
        write_BLN: B of the paper.
        read_BLN: C of the paper.
        skip_D: D of the paper: the input's direct share of the output.
        chunk: Steps whose states are held at once; one state (B, D, N) per chunk is kept for the backward pass.

    Returns:
        float32 (B, L, D).

    Raises:
        ValueError: If ``chunk`` is below 1.
    """
    if chunk < 1:
        raise ValueError(f'selective_scan: chunk must be at least 1, got {chunk}.')
    with torch.autocast(input_BLD.device.type, enabled=False):
        tensors = [tensor.float() for tensor in (input_BLD, step_BLD, decay_DN, write_BLN, read_BLN, skip_D)]
        kernel = _fused_kernel() if input_BLD.is_cuda else None
        if kernel is not None:
            return _run_kernel(kernel, *tensors)
        return _scan_in_chunks(*tensors, chunk=chunk)


def _scan_in_chunks(
    input_BLD: Tensor,
    step_BLD: Tensor,
    decay_DN: Tensor,
    write_BLN: Tensor,
    read_BLN: Tensor,
    skip_D: Tensor,
    *,
    chunk: int,
) -> Tensor:
    state_BDN = input_BLD.new_zeros(len(input_BLD), *decay_DN.shape)
    outputs = []
    for start in range(0, input_BLD.shape[1], chunk):
        part = [tensor[:, start : start + chunk] for tensor in (input_BLD, step_BLD, write_BLN, read_BLN)]
        if torch.is_grad_enabled():
            # Nothing here is random, so no generator state has to be kept and put back.
            output, state_BDN = checkpoint(
                _scan_chunk, state_BDN, decay_DN, *part, use_reentrant=False, preserve_rng_state=False
            )
        else:
            output, state_BDN = _scan_chunk(state_BDN, decay_DN, *part)
        outputs.append(output)
    return torch.addcmul(torch.cat(outputs, dim=1), input_BLD, skip_D)


def _scan_chunk(
    state_BDN: Tensor, decay_DN: Tensor, input_BLD: Tensor, step_BLD: Tensor, write_BLN: Tensor, read_BLN: Tensor
) -> tuple[Tensor, Tensor]:
    decay_BLDN = torch.exp(step_BLD[..., None] * decay_DN)
    drive_BLDN = (step_BLD * input_BLD)[..., None] * write_BLN[:, :, None]
    first_B1DN = torch.addcmul(drive_BLDN[:, :1], decay_BLDN[:, :1], state_BDN[:, None])
    state_BLDN = linear_scan(decay_BLDN, torch.cat((first_B1DN, drive_BLDN[:, 1:]), dim=1))
    output_BLD = torch.einsum('bldn,bln->bld', state_BLDN, read_BLN)
    # A copy: as a view the last state would keep all states of the chunk alive.
    return output_BLD, state_BLDN[:, -1].clone()


@functools.cache
def _fused_kernel() -> Callable | None:
    try:
        return importlib.import_module('mamba_ssm.ops.selective_scan_interface').selective_scan_fn
    except ImportError:
        return None


def _run_kernel(
    kernel: Callable,
    input_BLD: Tensor,
    step_BLD: Tensor,
    decay_DN: Tensor,
    write_BLN: Tensor,
    read_BLN: Tensor,
    skip_D: Tensor,
) -> Tensor:
    # mamba-ssm keeps the length last.
    transposed = [tensor.transpose(1, 2).contiguous() for tensor in (input_BLD, step_BLD, write_BLN, read_BLN)]
    output_BDL = kernel(transposed[0], transposed[1], decay_DN, transposed[2], transposed[3], skip_D)
    return output_BDL.transpose(1, 2)
