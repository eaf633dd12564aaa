"""All ranks agree whether an attempt succeeded, and only then reduce its gradients, once.

Agreement goes over gloo from host to host: out-of-memory errors are raised while kernels are queued, so nobody needs
to wait for a GPU to answer.
"""

from collections.abc import Sequence

import torch
from mmengine.dist import get_world_size
from torch import Tensor, distributed, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

__all__ = ['Agreement', 'reduce_gradients']

_BUCKET_BYTES = 25 * 1024**2  # what DistributedDataParallel takes for one message


class Agreement:
    """Ask all ranks. With one process it answers itself."""

    def __init__(self) -> None:
        self._group = None
        if get_world_size() > 1:
            is_gloo = distributed.get_backend() == 'gloo'
            self._group = distributed.group.WORLD if is_gloo else distributed.new_group(backend='gloo')

    def largest(self, *values: int) -> tuple[int, ...]:
        """Return the maximum over ranks of each value; every rank must ask."""
        if self._group is None:
            return values
        asked = torch.tensor(values, dtype=torch.int64)
        distributed.all_reduce(asked, distributed.ReduceOp.MAX, group=self._group)
        return tuple(asked.tolist())


@torch.no_grad()
def reduce_gradients(params: Sequence[nn.Parameter]) -> None:
    """Replace gradients by their mean over ranks. All ranks must call it.

    Args:
        params: Parameters in the same order on every rank. One without a gradient on some ranks only counts there as
            zero; one without a gradient on all ranks keeps None.
    """
    world_size = get_world_size()
    params = [param for param in params if param.requires_grad]
    if world_size == 1 or not params:
        return
    present = torch.tensor([param.grad is not None for param in params], dtype=torch.int32, device=params[0].device)
    distributed.all_reduce(present, distributed.ReduceOp.MAX)
    bucket: list[Tensor] = []
    num_bytes = 0
    for param, is_present in zip(params, present.tolist(), strict=True):
        if not is_present:
            continue
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        grad = param.grad
        if bucket and (bucket[0].dtype != grad.dtype or num_bytes + grad.nbytes > _BUCKET_BYTES):
            _reduce_bucket(bucket, world_size)
            bucket, num_bytes = [], 0
        bucket.append(grad)
        num_bytes += grad.nbytes
    _reduce_bucket(bucket, world_size)


def _reduce_bucket(bucket: list[Tensor], world_size: int) -> None:
    if not bucket:
        return
    flat = _flatten_dense_tensors(bucket).div_(world_size)  # divided first, as DDP does: fp16 sums may overflow
    distributed.all_reduce(flat)
    for grad, mean in zip(bucket, _unflatten_dense_tensors(flat, bucket), strict=True):
        grad.copy_(mean)
