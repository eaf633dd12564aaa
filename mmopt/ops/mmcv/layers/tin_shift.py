"""Temporal interlacing: groups of channels moved along time by whole steps.

Paper: https://arxiv.org/abs/2001.06499.

Shape letters: B clips, T frames, C channels, Q places of a frame, G groups of channels.
"""

import torch
from torch import Tensor

__all__ = ['tin_shift']


def tin_shift(clips_BTCQ: Tensor, shift_BG: Tensor) -> Tensor:
    """Move each group of channels ``shift`` frames later; frames that come from outside are 0.

    The gradient is the same with the opposite shift.
    """
    batch, frames, channels = clips_BTCQ.shape[:3]
    shift_BC = shift_BG.long().repeat_interleave(channels // shift_BG.shape[1], dim=1)
    source_BTC = torch.arange(frames, device=clips_BTCQ.device)[:, None] - shift_BC[:, None]
    exists_BTC = (source_BTC >= 0) & (source_BTC < frames)
    index = torch.where(exists_BTC, source_BTC, 0)[..., None].expand_as(clips_BTCQ)
    return clips_BTCQ.gather(1, index) * exists_BTC[..., None]
