"""A batch on its way to the device, without a wait, and without what the model reads on the host."""

from collections.abc import Sequence

from mmengine.model import BaseDataPreprocessor

from mmopt.registry import MODELS
from mmopt.structures import move_to

__all__ = ['DevicePreprocessor']


@MODELS.register_module()
class DevicePreprocessor(BaseDataPreprocessor):
    """Move a batch to the device and change nothing in it.

    Args:
        host_fields: Fields of a sample that stay where they are: what the model reads on the host (a device copy would
            have to be read back, field by field, each waiting for the device).
        non_blocking: Copy without waiting, where the batch lies in pinned memory.
    """

    def __init__(self, *, host_fields: Sequence[str] = (), non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        self.host_fields = tuple(host_fields)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a collated batch.

        Args:
            data: Any nesting of tensors and samples.
            training: Not needed: nothing here is random.

        Returns:
            The batch on the device.
        """
        del training
        return move_to(data, self.device, non_blocking=self._non_blocking, host_fields=self.host_fields)
