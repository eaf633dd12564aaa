"""BatchNorm over the batches of all ranks, on any device, and plain BatchNorm where there is one process.

torch's ``SyncBatchNorm`` refuses tensors on a CPU. Letters: C channels, N the number of values per channel.
"""

from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['CrossRankBatchNorm', 'fit_sync_batch_norm']


class _AnyDimBatchNorm(_BatchNorm):
    """BatchNorm for inputs of any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class CrossRankBatchNorm(_AnyDimBatchNorm):
    """What ``nn.SyncBatchNorm`` computes, from reductions that every backend has; used on the CPU.

    Mean and variance are of all ranks' values, computed in two passes in fp32; so is the gradient.
    """

    # Of torch's layer, where they may be None; the uses below are for layers that have them.
    num_batches_tracked: Any
    running_mean: Any
    running_var: Any

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or get_world_size() == 1:
            return super().forward(input)
        axes = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        x = input if input.dtype == torch.float64 else input.float()
        counts_1 = x.new_tensor([x.numel() / x.shape[1]])
        torch.distributed.all_reduce(counts_1)  # ranks may have unequal batches
        mean_C = all_reduce(x.sum(axes)) / counts_1
        centered = x - mean_C.view(shape)
        var_C = all_reduce((centered * centered).sum(axes)) / counts_1
        if self.track_running_stats:
            self._track(mean_C.detach(), (var_C.detach() * counts_1 / (counts_1 - 1).clamp(min=1)))
        normalized = centered * torch.rsqrt(var_C + self.eps).view(shape)
        if self.affine:
            normalized = normalized * self.weight.to(x.dtype).view(shape) + self.bias.to(x.dtype).view(shape)
        return normalized.to(input.dtype)

    def _track(self, mean_C: Tensor, unbiased_var_C: Tensor) -> None:
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, share)
        self.running_var.lerp_(unbiased_var_C, share)


def fit_sync_batch_norm(module: nn.Module, device: torch.device, world_size: int) -> nn.Module:
    """Replace each SyncBatchNorm of a model by what works here; its weights stay the same objects.

    Args:
        device: Where it runs.
        world_size: Number of processes; with one, plain BatchNorm is the same.

    Returns:
        The model, or the replacement if it is itself such a layer.
    """
    for name, child in module.named_children():
        replacement = fit_sync_batch_norm(child, device, world_size)
        if replacement is not child:
            setattr(module, name, replacement)
    # mmcv's class has the same name and arguments.
    if type(module).__name__ != 'SyncBatchNorm' or (world_size > 1 and device.type == 'cuda'):
        return module
    layer_type = _AnyDimBatchNorm if world_size == 1 else CrossRankBatchNorm
    old: Any = module
    layer = layer_type(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
    layer.weight, layer.bias = old.weight, old.bias
    for name in ('running_mean', 'running_var', 'num_batches_tracked'):
        setattr(layer, name, getattr(module, name))
    layer.training = module.training
    return layer
