"""What a measurement was made on, and how fast that multiplies matrices: the peak that utilization counts from."""

import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from mmopt.utils.memory import GIB
from mmopt.utils.platform import read_kernel_file

__all__ = ['MatmulRate', 'describe_machine', 'matmul_flop_per_s', 'may_use_tf32', 'reachable_flop_per_s']

# Large enough for the peak, small enough to be done in 0.1 s.
_SIZE = dict(cpu=2048, cuda=8192, mps=4096)


def describe_machine() -> dict[str, Any]:
    """Return processor, GPU and versions: a figure without them means nothing."""
    lines = read_kernel_file('cpuinfo').splitlines()
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    machine = dict(
        cpu=names[0] if names else platform.processor() or platform.machine(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
    )
    if torch.cuda.is_available():
        machine |= dict(
            gpu=torch.cuda.get_device_name(),
            gpu_gib=torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / GIB,
            capability=list(torch.cuda.get_device_capability()),
            cuda=torch.version.cuda or torch.version.hip or '',
            cudnn=str(torch.backends.cudnn.version()),
        )
    return machine


class MatmulRate:
    """Time one square matrix product per call.

    Args:
        dtype: Type of the factors.
        device: Where they lie.
        size: Rows and columns; by default 2048 on a CPU, 8192 on a GPU of CUDA, 4096 on one of Apple.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device | str = 'cpu', size: int | None = None) -> None:
        self.device = torch.device(device)
        self.size = size or _SIZE[self.device.type]
        self._a, self._b = (torch.randn(self.size, self.size, device=self.device).to(dtype) for _ in range(2))
        self._out = torch.empty_like(self._a)
        for _ in range(3):
            self()

    def __call__(self) -> float:
        """Return the rate of one product, in operations per second."""
        self._wait()
        start = time.perf_counter()
        torch.mm(self._a, self._b, out=self._out)
        self._wait()
        return 2 * self.size**3 / (time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type != 'cpu':
            torch.accelerator.synchronize(self.device)


def may_use_tf32(kind: str) -> bool:
    """Tell whether a GPU may round the factors of fp32 to TF32.

    Args:
        kind: ``'product'`` or ``'convolution'``.

    Returns:
        What this process allows, whichever of torch's two switches said so.
    """
    # The older name, allow_tf32, raises once somebody has used this one.
    backends: Any = torch.backends
    part = backends.cuda.matmul if kind == 'product' else backends.cudnn.conv
    return part.fp32_precision == 'tf32'


@contextmanager
def _products_in_tf32(value: bool) -> Iterator[None]:
    matmul: Any = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.allow_tf32 = value
    try:
        yield
    finally:
        # Both names, which must agree for the older one to be read.
        matmul.allow_tf32 = before == 'tf32'
        matmul.fp32_precision = before


def matmul_flop_per_s(
    dtype: torch.dtype,
    device: torch.device | str = 'cpu',
    repeats: int = 9,
    *,
    tf32: bool = False,
    size: int | None = None,
) -> float:
    """Measure the matmul rate of this machine, now.

    Args:
        dtype: Type of the factors.
        device: Where they lie.
        repeats: Products to time; the median counts.
        tf32: Whether a GPU rounds factors of fp32 to TF32.
        size: See :class:`MatmulRate`.

    Returns:
        Operations per second; a multiplication and its addition are two.
    """
    with _products_in_tf32(tf32):
        rate = MatmulRate(dtype, device, size)
        return statistics.median(rate() for _ in range(repeats))


def reachable_flop_per_s(
    flops: Mapping[str, int], dtype: torch.dtype, device: torch.device | str = 'cpu', *, size: int | None = None
) -> float:
    """Measure the rate that a mixture of operations could reach: what utilization is a share of.

    Args:
        flops: Operations by kind (:func:`mmopt.utils.flops.flops_by_kind`).
        dtype: Type of the factors. In fp32 a GPU computes each kind in TF32 where this process lets it: convolutions
            by default, products not.
        device: Where they lie.
        size: See :class:`MatmulRate`.

    Returns:
        Operations per second, each kind at the rate of a matrix product of its precision.
    """
    on_gpu = torch.device(device).type == 'cuda'
    in_tf32 = {kind: on_gpu and dtype is torch.float32 and may_use_tf32(kind) for kind in flops}
    kinds = {in_tf32[kind] for kind, count in flops.items() if count}
    rates = {tf32: matmul_flop_per_s(dtype, device, tf32=tf32, size=size) for tf32 in kinds}
    seconds = sum(count / rates[in_tf32[kind]] for kind, count in flops.items() if count)
    return sum(flops.values()) / seconds if seconds else matmul_flop_per_s(dtype, device, size=size)
