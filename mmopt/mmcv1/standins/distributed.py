"""Several processes: reducing gradients, and the test loops that repositories' own scripts call."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, collect_results, get_dist_info
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

__all__ = ['allreduce_grads', 'allreduce_params', 'multi_gpu_test', 'single_gpu_test']


def allreduce_grads(params: Sequence[Tensor], coalesce: bool = True, bucket_size_mb: int = -1) -> None:
    """Give every process the mean gradient.

    Args:
        params: Parameters.
        coalesce: No effect: gradients are reduced one by one.
        bucket_size_mb: No effect.
    """
    del coalesce, bucket_size_mb  # mmcv's signature
    if get_dist_info()[1] == 1:
        return
    for param in params:
        if param.requires_grad and param.grad is not None:
            all_reduce(param.grad, 'mean')


def allreduce_params(params: Sequence[Tensor], coalesce: bool = True, bucket_size_mb: int = -1) -> None:
    """Give every process the mean of parameters or buffers; see :func:`allreduce_grads`."""
    del coalesce, bucket_size_mb  # mmcv's signature
    if get_dist_info()[1] > 1:
        for param in params:
            all_reduce(param.data, 'mean')


def single_gpu_test(model: nn.Module, data_loader: DataLoader) -> list:
    """Predict a data set in one process.

    Args:
        model: The model in a wrapper that unwraps batches.
        data_loader: Its data set gives the length of the progress bar.

    Returns:
        One result per sample.
    """
    model.eval()
    results: list[Any] = []
    dataset: Any = data_loader.dataset
    bar = ProgressBar(len(dataset))
    for batch in data_loader:
        with torch.no_grad():
            result = model(return_loss=False, **batch)
        results.extend(result)
        for _ in range(len(result)):
            bar.update()
    return results


def multi_gpu_test(
    model: nn.Module, data_loader: DataLoader, tmpdir: str | None = None, gpu_collect: bool = False
) -> list | None:
    """Predict a data set in several processes.

    Args:
        model: The model in a wrapper that unwraps batches.
        data_loader: The loader of this process.
        tmpdir: No effect: results are gathered in memory.
        gpu_collect: No effect.

    Returns:
        All results on rank 0, None elsewhere.
    """
    del tmpdir, gpu_collect  # mmcv's signature
    model.eval()
    results: list[Any] = []
    dataset: Any = data_loader.dataset
    for batch in data_loader:
        with torch.no_grad():
            results.extend(model(return_loss=False, **batch))
    return collect_results(results, len(dataset), 'cpu')
