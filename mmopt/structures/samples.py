"""What travels beside the input tensor of one sample."""

from collections.abc import Sequence
from typing import Self, TypeVar

from mmengine.structures import BaseDataElement

__all__ = ['DataSample', 'require_samples']


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


_Samples = TypeVar('_Samples', bound=Sequence[DataSample])


def require_samples(data_samples: _Samples | None, model: object, mode: str) -> _Samples:
    """Return the samples that a mode of a model cannot do without.

    Args:
        data_samples: What the model was given.
        model: For the message.
        mode: The mode that it was called in.

    Returns:
        The samples.

    Raises:
        ValueError: If there are none.
    """
    if data_samples is None:
        raise ValueError(
            f'{type(model).__name__}: mode={mode!r} needs samples, got no data_samples; '
            "mode='tensor' works on inputs alone."
        )
    return data_samples
