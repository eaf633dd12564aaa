"""What travels beside the input tensor of one sample."""

from typing import Self

from mmengine.structures import BaseDataElement

__all__ = ['DataSample']


class DataSample(BaseDataElement):
    """Labels, geometry and predictions of one sample.

    Tensors are set as fields (``sample.label_bits = ...``) and follow ``.to(device)``; facts such as ``img_path``,
    ``ori_shape`` and ``sample_idx`` go into the metainfo. Ground truth carries no prefix, what a model predicts is
    ``pred_*``. Every task documents its fields in its data set.
    """

    def pin_memory(self) -> Self:
        """Return a copy in page-locked memory, from which alone a copy to a GPU waits for nothing; the loader asks."""
        pinned = self.new()
        for name, value in self.items():
            if hasattr(value, 'pin_memory'):
                pinned.set_field(value.pin_memory(), name)
        return pinned
