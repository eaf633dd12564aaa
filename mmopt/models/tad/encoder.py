"""Convolutions over time, then a bidirectional LSTM.

Shape letters: B batch, T frames, P = T / stride positions, C input channels, H hidden size.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

from mmopt.registry import MODELS

__all__ = ['ConvBiLSTM']


@MODELS.register_module()
class ConvBiLSTM(nn.Module):
    """Encode a window of track features.

    Args:
        in_channels: Channels C of the features.
        conv_channels: Channels after each convolution (kernel 3).
        pool: Factor by which each convolution's max pooling shortens the time axis; 1 keeps every frame.
        hidden_size: Channels H of one direction of the LSTM.
        num_layers: Layers of the LSTM.
        dropout: Probability, after each convolution and between the layers of the LSTM.
        norm_cfg: Normalization after each convolution.
        act_cfg: Activation after it.
    """

    def __init__(
        self,
        in_channels: int,
        conv_channels: Sequence[int] = (128, 256),
        pool: int = 2,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.3,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type='BN1d')
        act_cfg = act_cfg or dict(type='ReLU')
        self.in_channels = in_channels
        self.pool = pool
        self.stride = pool ** len(conv_channels)
        self.out_channels = 2 * hidden_size
        widths = [in_channels, *conv_channels]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(narrow, wide, kernel_size=3, padding=1),
                build_norm_layer(norm_cfg, wide)[1],
                build_activation_layer(act_cfg),
                nn.Dropout(dropout),
            )
            for narrow, wide in zip(widths, widths[1:], strict=False)
        )
        self.lstm = nn.LSTM(
            widths[-1],
            hidden_size,
            num_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )

    def forward(self, features_BTC: Tensor, valid_BT: Tensor) -> Tensor:
        """Encode.

        Args:
            features_BTC: Track features.
            valid_BT: bool; False for padding, which counts as 0 before and after each convolution.

        Returns:
            Features of shape (B, P, 2H).

        Raises:
            ValueError: If the features have another number of channels.
        """
        if features_BTC.shape[-1] != self.in_channels:
            raise ValueError(
                f'The tracks give {features_BTC.shape[-1]} input channels (keypoints x 4 with motion features, x 2 '
                f'without), the model has in_channels={self.in_channels}. Set model.encoder.in_channels to the former.'
            )
        valid_B1T = valid_BT[:, None].to(features_BTC.dtype)
        x_BCT = features_BTC.transpose(1, 2) * valid_B1T
        for block in self.blocks:
            x_BCT = block(x_BCT) * valid_B1T
            if self.pool > 1:
                x_BCT = nn.functional.max_pool1d(x_BCT, self.pool)
                valid_B1T = nn.functional.max_pool1d(valid_B1T, self.pool)
        return self._recur(x_BCT.transpose(1, 2))

    def _recur(self, x_BPC: Tensor) -> Tensor:
        # oneDNN has no float16 LSTM for CPUs ("could not create a primitive descriptor").
        if x_BPC.device.type == 'cpu' and torch.is_autocast_enabled('cpu'):
            with torch.autocast('cpu', enabled=False):
                return self.lstm(x_BPC.float())[0]
        return self.lstm(x_BPC)[0]
