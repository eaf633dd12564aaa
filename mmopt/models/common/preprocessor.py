"""Image preprocessing on the device: the worker sends uint8, a quarter of the bytes and none of the arithmetic."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from mmopt.ops.photometric import photometric_distortion
from mmopt.registry import MODELS
from mmopt.structures import move_to

__all__ = ['ImagePreprocessor']


@MODELS.register_module()
class ImagePreprocessor(BaseDataPreprocessor):
    """Move a batch to the device, distort its colors (training only), normalize and pad it.

    A sample is distorted where it carries a ``photometric`` vector (see :mod:`mmopt.ops.photometric`). Images that the
    pipeline has normalized (``img_norm_cfg`` in the metainfo) are not normalized again.

    Args:
        mean: Mean of every channel, RGB, of values in [0, 255].
        std: Standard deviation of every channel.
        pad_size_divisor: Height and width are padded at the bottom and right to multiples of this.
        pad_value: Value of padding, after normalization.
        host_fields: Fields of a sample that stay where they are: what decides on the host how the device computes
            (a device copy would have to be read back, which waits for the device).
        non_blocking: Copy without waiting, where the batch lies in pinned memory.

    Raises:
        ValueError: If mean and std differ in length.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        *,
        pad_size_divisor: int = 1,
        pad_value: float = 0.0,
        host_fields: Sequence[str] = ('intrinsics', 'photometric'),
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != len(std):
            raise ValueError(f'ImagePreprocessor: mean has {len(mean)} channels and std {len(std)}; they must agree.')
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value
        self.host_fields = tuple(host_fields)
        self.register_buffer('mean_C11', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer('scale_C11', (1.0 / torch.tensor(std, dtype=torch.float64)).float().view(-1, 1, 1), False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a collated batch.

        Args:
            data: ``inputs`` uint8 ``(B, 3, H, W)`` (or a list of ``(3, H, W)`` of unequal size), ``data_samples`` a
                list or None.
            training: Whether to distort.

        Returns:
            The batch with ``inputs`` float32 ``(B, 3, H, W)`` on the device, and its samples there too.
        """
        data_samples = data.get('data_samples')
        # One image or a stacked batch is a list of images alike; only unequal sizes need the padding.
        images = move_to(data['inputs'], self.mean_C11.device, non_blocking=self._non_blocking)
        if training and data_samples is not None:
            images = self._distort(images, data_samples)
        # mmcv-1 pipelines normalize in the loader and note it: once is enough.
        is_normalized = bool(data_samples and 'img_norm_cfg' in data_samples[0])
        normalize = Tensor.float if is_normalized else self._normalize
        inputs = normalize(images) if isinstance(images, Tensor) else self._stack([normalize(im) for im in images])
        height, width = inputs.shape[-2:]
        pad = (0, -width % self.pad_size_divisor, 0, -height % self.pad_size_divisor)
        if any(pad):
            inputs = F.pad(inputs, pad, value=self.pad_value)
        return {**data, 'inputs': inputs, 'data_samples': self._move_samples(data_samples)}

    def _distort(self, images: Tensor | list[Tensor], data_samples: Sequence) -> Tensor | list[Tensor]:
        chosen = [index for index, sample in enumerate(data_samples) if 'photometric' in sample]
        if not chosen:
            return images
        distorted = [images[index] for index in range(len(images))]
        for index in chosen:
            params_1P = torch.as_tensor(data_samples[index].photometric)[None]
            # Of several views along the channels only the first is a photograph.
            image_CHW = distorted[index]
            views = [photometric_distortion(image_CHW[None, :3], params_1P)[0], image_CHW[3:].float()]
            distorted[index] = torch.cat(views) if len(image_CHW) > 3 else views[0]
        return torch.stack([image.float() for image in distorted]) if isinstance(images, Tensor) else distorted

    def _normalize(self, image: Tensor) -> Tensor:
        return (image.float() - self.mean_C11).mul_(self.scale_C11)

    def _stack(self, images: list[Tensor]) -> Tensor:
        height, width = (max(image.shape[axis] for image in images) for axis in (-2, -1))
        return torch.stack(
            [
                F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]), value=self.pad_value)
                for image in images
            ]
        )

    def _move_samples(self, data_samples: Sequence | None) -> list | None:
        if data_samples is None:
            return None
        return move_to(
            list(data_samples), self.mean_C11.device, non_blocking=self._non_blocking, host_fields=self.host_fields
        )
