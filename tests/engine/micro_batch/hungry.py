"""A toy model that runs out of memory on a CPU: beyond a number of samples, in its forward or backward pass."""

import torch
from torch import Tensor, nn

from mmopt.registry import MODELS
from tests.engine.toy import ToyModel

FAILURES = {
    'cuda': (torch.OutOfMemoryError, 'CUDA out of memory. Tried to allocate 2.00 GiB.'),
    'cudnn': (RuntimeError, 'cuDNN error: CUDNN_STATUS_ALLOC_FAILED'),
    'cublas': (RuntimeError, 'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`'),
}


def fail(kind: str) -> None:
    """Raise a new error each time: one that is raised again keeps the frames of before."""
    error_type, text = FAILURES[kind]
    raise error_type(text)


class _FailInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, failure: str | None) -> Tensor:
        ctx.failure = failure
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        if ctx.failure is not None:
            fail(ctx.failure)
        return grad, None


@MODELS.register_module(force=True)
class HungryModel(ToyModel):
    """``ToyModel`` with BatchNorm and dropout that holds ``capacity`` samples.

    ``place`` is ``'forward'`` (at its end: statistics and random numbers have changed) or ``'backward'``. ``attempts``
    has the samples of each pass.
    """

    def __init__(self, capacity: int = 99, place: str = 'forward', failure: str = 'cuda', **kwargs) -> None:
        super().__init__(dropout=0.3, **kwargs)
        self.norm = nn.BatchNorm1d(16)
        self.capacity = capacity
        self.place = place
        self.failure = failure
        self.attempts: list[int] = []

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        if mode != 'loss':
            return super().forward(inputs, data_samples, mode, normalizers)
        self.attempts.append(len(inputs))
        fails = len(inputs) > self.capacity
        losses = super().forward(inputs, data_samples, mode, normalizers)
        if fails and self.place == 'forward':
            fail(self.failure)
        failure = self.failure if fails and self.place == 'backward' else None
        return {name: _FailInBackward.apply(value, failure) for name, value in losses.items()}
