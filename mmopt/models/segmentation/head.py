"""The segmentation heads of BiSeNetV2.

Shape letters: B batch, C channels, K classes, H W feature map.
"""

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.common.norm import build_norm
from mmopt.registry import MODELS

__all__ = ['SegmentationHead']


@MODELS.register_module()
class SegmentationHead(BaseModule):
    """A 3x3 convolution, dropout and a classifier; an auxiliary head doubles the size and refines before it classifies.

    Logits come at the size of the features, or twice that with ``refine_channels``: the loss and the prediction bring
    them to the image's size. The names of the layers (``norm``, ``classifier``) let an optimizer's custom keys find
    what takes no weight decay.

    Args:
        in_channels: Channels of the features.
        channels: Channels of the first convolution.
        num_classes: Classes K.
        refine_channels: Channels of the second convolution, at twice the size; None leaves it out. The published
            auxiliary heads take the square of their stride.
        dropout: Probability before the classifier.
        norm_cfg: Every normalization layer.
        act_cfg: Every activation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        num_classes: int,
        refine_channels: int | None = None,
        dropout: float = 0.1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_classes = num_classes
        norm_cfg = norm_cfg or dict(type='BN')
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = build_norm(norm_cfg, channels)
        self.act = build_activation_layer(act_cfg or dict(type='ReLU', inplace=True))
        self.dropout = nn.Dropout(dropout)
        self.refine = None
        if refine_channels is not None:
            self.refine = nn.Conv2d(channels, refine_channels, 3, padding=1, bias=False)
            self.norm_refine = build_norm(norm_cfg, refine_channels)
        self.classifier = nn.Conv2d(refine_channels or channels, num_classes, 1)
        for module in (self.conv, self.refine, self.classifier):
            if module is not None:
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)

    def forward(self, feat_BCHW: Tensor) -> Tensor:
        """Return logits ``(B, K, H, W)``, or twice as high and wide with ``refine_channels``."""
        feat = self.dropout(self.act(self.norm(self.conv(feat_BCHW))))
        if self.refine is not None:
            feat = self.act(self.norm_refine(self.refine(F.interpolate(feat, scale_factor=2))))
        return self.classifier(feat)
