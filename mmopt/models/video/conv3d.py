"""SlowOnly: a ResNet whose later stages also look along time, without ever shortening it.

Paper: Feichtenhofer et al., "SlowFast Networks for Video Recognition", https://arxiv.org/abs/1812.03982 (its slow
pathway). Parameters have MMAction2's names, so its SlowOnly checkpoints load with
``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

Shape letters: B clips, C channels, T H W.
"""

from collections.abc import Sequence

from mmcv.cnn import ConvModule, build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.models.video.cudnn import warn_of_broken_conv3d
from mmopt.registry import MODELS

__all__ = ['SlowOnly']

_EXPANSION = 4


class _Bottleneck(nn.Module):
    def __init__(
        self, in_channels: int, channels: int, stride: int, inflate: bool, conv_cfg: dict, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        out_channels = _EXPANSION * channels
        common = dict(bias=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        time = 3 if inflate else 1
        self.conv1 = ConvModule(
            in_channels, channels, (time, 1, 1), padding=(time // 2, 0, 0), act_cfg=act_cfg, **common
        )
        self.conv2 = ConvModule(
            channels, channels, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), act_cfg=act_cfg, **common
        )
        self.conv3 = ConvModule(channels, out_channels, 1, act_cfg=None, **common)
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            self.downsample = ConvModule(
                in_channels, out_channels, 1, stride=(1, stride, stride), act_cfg=None, **common
            )
        self.relu = build_activation_layer(act_cfg)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        shortcut = x_BCTHW if self.downsample is None else self.downsample(x_BCTHW)
        return self.relu(self.conv3(self.conv2(self.conv1(x_BCTHW))) + shortcut)


@MODELS.register_module()
class SlowOnly(BaseModule):
    """Encode a clip (B, 3, T, H, W) as features (B, T, C); the defaults are SlowOnly ResNet-50.

    Args:
        depths: Bottlenecks of every stage.
        base_channels: Channels of the stem and of the first stage's inner convolutions; each stage doubles them.
        inflate: Whether a stage's bottlenecks look at the frames before and after.
        in_channels: Channels of a frame.
        norm_cfg: Every normalization layer.
        act_cfg: Every activation.

    Raises:
        ValueError: If ``depths`` and ``inflate`` differ in length.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        base_channels: int = 64,
        inflate: Sequence[bool] = (False, False, True, True),
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if len(depths) != len(inflate):
            raise ValueError(f'SlowOnly: depths {depths} and inflate {inflate} differ in length.')
        # He's initialization, as the paper's; the classifier behind keeps torch's.
        he = [
            dict(type='Kaiming', layer='Conv3d', mode='fan_out', nonlinearity='relu'),
            dict(type='Constant', layer=['_BatchNorm', 'GroupNorm'], val=1),
        ]
        super().__init__(init_cfg or he)
        norm_cfg = norm_cfg or dict(type='BN3d')
        act_cfg = act_cfg or dict(type='ReLU', inplace=True)
        conv_cfg = dict(type='Conv3d')
        self.conv1 = ConvModule(
            in_channels,
            base_channels,
            (1, 7, 7),
            stride=(1, 2, 2),
            padding=(0, 3, 3),
            bias=False,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
        )
        self.maxpool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.num_stages = len(depths)
        width = base_channels
        for stage, (depth, inflated) in enumerate(zip(depths, inflate, strict=True)):
            channels = base_channels * 2**stage
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(_Bottleneck(width, channels, stride, inflated, conv_cfg, norm_cfg, act_cfg))
                width = _EXPANSION * channels
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))
        self.stem_channels = base_channels
        self.out_channels = width

    @property
    def stem(self) -> nn.Module:
        """The part before which, or behind which, views can be joined."""
        return self.conv1

    def encode(self, map_BCTHW: Tensor) -> Tensor:
        """Encode what the stem made.

        Args:
            map_BCTHW: The stem's map.

        Returns:
            Features (B, T, C), averaged over space.
        """
        warn_of_broken_conv3d(map_BCTHW)
        x_BCTHW = self.maxpool(map_BCTHW)
        for stage in range(self.num_stages):
            for block in getattr(self, f'layer{stage + 1}'):
                x_BCTHW = block(x_BCTHW)
        return x_BCTHW.mean(dim=(3, 4)).transpose(1, 2)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Encode clips; see :meth:`encode`."""
        return self.encode(self.stem(video_BCTHW))
