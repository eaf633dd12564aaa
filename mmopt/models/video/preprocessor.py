"""Clips on the device: the worker sends uint8, a quarter of the bytes."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor

from mmopt.registry import MODELS
from mmopt.structures import move_to

__all__ = ['VideoPreprocessor']


@MODELS.register_module()
class VideoPreprocessor(BaseDataPreprocessor):
    """Move a batch to the device and scale its clips; what is no uint8 (keypoints) is only moved.

    Args:
        mean: Of every channel, in [0, 255]; the default only divides by 255.
        std: Of every channel.
        non_blocking: Copy without waiting, where the batch lies in pinned memory.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (255.0, 255.0, 255.0),
        *,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        # Not persistent: they are settings, not weights.
        self.register_buffer('mean_C111', torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer('scale_C111', 1 / torch.tensor(std).view(-1, 1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a collated batch.

        Args:
            data: ``inputs`` by name, ``data_samples`` a list.
            training: Not needed: nothing here is random.

        Returns:
            The batch on the device, clips in float32.
        """
        del training
        data = move_to(data, self.mean_C111.device, non_blocking=self._non_blocking)
        inputs = {}
        for name, value in data['inputs'].items():
            if value.dtype == torch.uint8:
                value = (value.float() - self.mean_C111).mul_(self.scale_C111)
            inputs[name] = value
        return {**data, 'inputs': inputs}
