"""What a measurement was made on, and how fast that multiplies matrices: the peak that utilization counts from."""

import platform
import statistics
import time
from typing import Any

import torch

from mmopt.utils.memory import GIB
from mmopt.utils.platform import read_kernel_file

__all__ = ['MatmulRate', 'describe_machine', 'matmul_flop_per_s']

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


def matmul_flop_per_s(dtype: torch.dtype, device: torch.device | str = 'cpu', repeats: int = 9) -> float:
    """Measure the matmul rate of this machine, now.

    Args:
        dtype: Type of the factors. For fp32 on a GPU whose convolutions may use TF32, TF32 is the peak.
        device: Where they lie.
        repeats: Products to time; the median counts.

    Returns:
        Operations per second; a multiplication and its addition are two.
    """
    backends, on_gpu = torch.backends, torch.device(device).type == 'cuda'
    before = backends.cuda.matmul.allow_tf32 if on_gpu else False
    try:
        if on_gpu and dtype is torch.float32 and backends.cudnn.allow_tf32:
            backends.cuda.matmul.allow_tf32 = True
        rate = MatmulRate(dtype, device)
        return statistics.median(rate() for _ in range(repeats))
    finally:
        if on_gpu:
            backends.cuda.matmul.allow_tf32 = before
