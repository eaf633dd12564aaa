"""From the features of several streams (views, keypoints) to one set of class logits.

Shape letters: B clips, S streams, T time steps, C channels, K classes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.common import build_norm
from mmopt.registry import MODELS

__all__ = ['CrossViewAttention', 'FeatureConcatFusion', 'FeatureMeanFusion', 'LogitFusion', 'ProbabilityFusion']


def _classifier(channels: int, num_classes: int, drop_rate: float, norm_cfg: dict | None) -> nn.Module:
    # A batch norm here takes away what the means over all tokens of a scene have in common, beside which what differs
    # between clips is faint: without it small token models hardly began to learn the demo's clips.
    norms = [] if norm_cfg is None else [build_norm(norm_cfg, channels)]
    return nn.Sequential(*norms, nn.Dropout(drop_rate), nn.Linear(channels, num_classes))


def _project(in_channels: Sequence[int], channels: int | None) -> tuple[nn.ModuleList, int]:
    """Return a map of each stream to one width: the given one, else the widest stream's."""
    width = channels or max(in_channels)
    return nn.ModuleList(nn.Identity() if c == width else nn.Linear(c, width) for c in in_channels), width


@MODELS.register_module()
class LogitFusion(nn.Module):
    """Classify every stream by itself and average the logits.

    Args:
        in_channels: Channels of every stream.
        num_classes: Classes K.
        drop_rate: Dropout before each classifier.
        head_norm_cfg: Normalization before that, e.g. ``BN1d``; None: none.
    """

    def __init__(
        self, in_channels: Sequence[int], num_classes: int, drop_rate: float = 0.5, head_norm_cfg: dict | None = None
    ) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(_classifier(c, num_classes, drop_rate, head_norm_cfg) for c in in_channels)

    def stream_logits(self, streams: Sequence[Tensor]) -> Tensor:
        """Return the logits of each stream, float32 (S, B, K)."""
        pairs = zip(self.classifiers, streams, strict=True)
        return torch.stack([classify(feat_BTC.mean(dim=1)).float() for classify, feat_BTC in pairs])

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Fuse.

        Args:
            streams: Features (B, T, C) of every stream; T and C may differ.

        Returns:
            Logits (B, K).
        """
        return self.stream_logits(streams).mean(dim=0)


@MODELS.register_module()
class ProbabilityFusion(LogitFusion):
    """Classify every stream by itself and average the probabilities: no stream's certainty outweighs all others."""

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Fuse; the logarithms of the mean probabilities are logits whose softmax is these probabilities."""
        log_prob_SBK = self.stream_logits(streams).log_softmax(dim=-1)
        return log_prob_SBK.logsumexp(dim=0) - math.log(len(streams))


@MODELS.register_module()
class FeatureMeanFusion(nn.Module):
    """Average the streams' features, then classify.

    Args:
        in_channels: Channels of every stream.
        num_classes: Classes K.
        drop_rate: Dropout before the classifier.
        channels: Width to which streams of another are projected; None: the widest stream's.
        head_norm_cfg: Normalization before the dropout, e.g. ``BN1d``; None: none.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        drop_rate: float = 0.5,
        channels: int | None = None,
        head_norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.projections, width = _project(in_channels, channels)
        self.classifier = _classifier(width, num_classes, drop_rate, head_norm_cfg)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Fuse; see :meth:`LogitFusion.forward`."""
        pairs = zip(self.projections, streams, strict=True)
        feat_SBC = torch.stack([project(feat_BTC.mean(dim=1)) for project, feat_BTC in pairs])
        return self.classifier(feat_SBC.mean(dim=0))


@MODELS.register_module()
class FeatureConcatFusion(nn.Module):
    """Lay the streams' features side by side, then classify.

    Args:
        in_channels: Channels of every stream.
        num_classes: Classes K.
        drop_rate: Dropout before the classifier.
        head_norm_cfg: Normalization before that, e.g. ``BN1d``; None: none.
    """

    def __init__(
        self, in_channels: Sequence[int], num_classes: int, drop_rate: float = 0.5, head_norm_cfg: dict | None = None
    ) -> None:
        super().__init__()
        self.classifier = _classifier(sum(in_channels), num_classes, drop_rate, head_norm_cfg)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Fuse; see :meth:`LogitFusion.forward`."""
        return self.classifier(torch.cat([feat_BTC.mean(dim=1) for feat_BTC in streams], dim=-1))


@MODELS.register_module()
class CrossViewAttention(nn.Module):
    """Let the streams attend to each other at every time step, then average and classify.

    Args:
        in_channels: Channels of every stream.
        num_classes: Classes K.
        drop_rate: Dropout before the classifier.
        channels: Width of the attention; None: the widest stream's.
        norm_cfg: Normalization before the attention.
        head_norm_cfg: Normalization before the dropout, e.g. ``BN1d``; None: none.

    Raises:
        ValueError: If the heads do not divide the width.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        drop_rate: float = 0.5,
        channels: int | None = None,
        num_heads: int = 4,
        norm_cfg: dict | None = None,
        head_norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        self.projections, width = _project(in_channels, channels)
        if width % num_heads:
            raise ValueError(f'CrossViewAttention: num_heads={num_heads} must divide the width {width}.')
        self.num_heads = num_heads
        # Tells the streams apart: attention alone treats them as a set.
        self.stream_SC = nn.Parameter(torch.randn(len(in_channels), width) * 0.02)
        self.norm = build_norm(norm_cfg or dict(type='LN'), width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.classifier = _classifier(width, num_classes, drop_rate, head_norm_cfg)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Fuse; see :meth:`LogitFusion.forward`. Streams of other lengths are averaged to the shortest one's."""
        num_steps = min(feat_BTC.shape[1] for feat_BTC in streams)
        aligned = [
            project(F.adaptive_avg_pool1d(feat_BTC.transpose(1, 2), num_steps).transpose(1, 2))
            for project, feat_BTC in zip(self.projections, streams, strict=True)
        ]
        x_BTSC = torch.stack(aligned, dim=2) + self.stream_SC
        query, key, value = self.qkv(self.norm(x_BTSC)).unflatten(-1, (3, self.num_heads, -1)).unbind(dim=3)
        # (B, T, heads, S, C / heads): attention over the streams of one time step.
        attended = F.scaled_dot_product_attention(query.transpose(2, 3), key.transpose(2, 3), value.transpose(2, 3))
        x_BTSC = x_BTSC + self.proj(attended.transpose(2, 3).flatten(3))
        return self.classifier(x_BTSC.mean(dim=(1, 2)))
