"""The GPU, or in the rehearsal a CPU in its place: every call of ``torch.cuda`` that the suite makes goes through here.

In the rehearsal each call is compared with the signature of torch's own function and answered with a made-up value, so
a wrong argument is found without a GPU.
"""

import inspect
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

__all__ = ['GIB', 'Gpu', 'open_gpu', 'spread']

GIB = 1024**3


class _Event:
    """Stands for ``torch.cuda.Event``: notes the time of the host."""

    def __init__(self, **options: Any) -> None:
        inspect.signature(torch.cuda.Event.__new__).bind(torch.cuda.Event, **options)
        self.time = 0.0

    def record(self, stream: Any = None) -> None:
        del stream
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        """Nothing is under way."""

    def elapsed_time(self, end_event: '_Event') -> float:
        return 1000 * max(end_event.time - self.time, 1e-6)


class _Stream:
    """Stands for ``torch.cuda.Stream``: all is done at once."""

    def wait_stream(self, stream: '_Stream') -> None:
        assert isinstance(stream, _Stream)


class _CheckedCuda:
    """Stands for ``torch.cuda`` where there is no GPU."""

    Event = _Event
    Stream = _Stream
    _ANSWERS: dict[str, Any] = dict(
        mem_get_info=(100 * GIB, 140 * GIB),
        get_device_name='a CPU in the place of a GPU',
        get_device_capability=(9, 0),
        max_memory_allocated=GIB,
        max_memory_reserved=GIB,
        memory_allocated=GIB,
        memory_reserved=GIB,
        memory_stats=dict(num_alloc_retries=0, num_ooms=0),
        stream=nullcontext(),
        current_stream=_Stream(),
    )
    _SILENT = (
        'synchronize',
        'empty_cache',
        'reset_peak_memory_stats',
        'set_per_process_memory_fraction',
        'set_sync_debug_mode',
    )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real = getattr(torch.cuda, name)  # an unknown name is an error here as well
        if name not in self._ANSWERS and name not in self._SILENT:
            raise AttributeError(f'torch.cuda.{name} has no answer in the rehearsal: add it to {type(self).__name__}.')
        signature = inspect.signature(real)

        def call(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)
            return self._ANSWERS.get(name)

        return call


class Gpu:
    """A device and what is asked of it.

    Args:
        device: Where tensors go.
        cuda: ``torch.cuda``, or what stands for it.
    """

    def __init__(self, device: torch.device, cuda: Any) -> None:
        self.device = device
        self.cuda = cuda

    @property
    def is_real(self) -> bool:
        """Whether this is a GPU."""
        return self.device.type == 'cuda'

    @property
    def product_size(self) -> int | None:
        """Rows of the products that rates are measured with: a CPU multiplies some precisions very slowly."""
        return None if self.is_real else 64

    def total_bytes(self) -> int:
        """Return the memory of the card."""
        return self.cuda.mem_get_info()[1]

    def used_beside_allocator(self) -> int:
        """Return what the driver counts as taken beyond what torch's allocator holds: context and libraries."""
        free, total = self.cuda.mem_get_info()
        return total - free - self.cuda.memory_reserved()

    def forget(self) -> None:
        """Give memory back and start counting peaks anew: what comes next shall not profit from what was."""
        self.cuda.synchronize()
        if self.is_real:
            torch._C._cuda_clearCublasWorkspaces()
        self.cuda.empty_cache()
        self.cuda.reset_peak_memory_stats()

    def peaks(self) -> dict[str, int]:
        """Return the peaks since :meth:`forget`."""
        self.cuda.synchronize()
        stats = self.cuda.memory_stats()
        return dict(
            allocated=self.cuda.max_memory_allocated(),
            reserved=self.cuda.max_memory_reserved(),
            retries=stats['num_alloc_retries'],
        )

    def limit(self, gib: float | None) -> None:
        """Let this process take no more than so much of the card, or all of it."""
        fraction = 1.0 if gib is None else min(gib * GIB / self.total_bytes(), 1.0)
        self.cuda.set_per_process_memory_fraction(fraction)

    def times_ms(self, function: Callable[[], Any], warmup: int, repeats: int) -> list[float]:
        """Time calls one after the other, between events; nothing waits in between.

        Args:
            function: What is timed.
            warmup: Calls before, which may choose algorithms and fill caches.
            repeats: Timed calls.

        Returns:
            Milliseconds of each.
        """
        for _ in range(warmup):
            function()
        events = [self.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        events[0].record()
        for event in events[1:]:
            function()
            event.record()
        self.cuda.synchronize()
        return [start.elapsed_time(stop) for start, stop in zip(events[:-1], events[1:], strict=True)]

    def beside(self, copy: Callable[[], Any], compute: Callable[[], Any]) -> None:
        """Run a copy in a stream of its own while the current one computes; what follows waits for both."""
        stream = self.cuda.Stream()
        with self.cuda.stream(stream):
            copy()
        compute()
        self.cuda.current_stream().wait_stream(stream)

    def bytes_per_s(self, function: Callable[[], Any], num_bytes: int, repeats: int = 5) -> float:
        """Return the median rate of something that moves bytes."""
        return num_bytes / statistics.median(self.times_ms(function, 2, repeats)) * 1000

    def set_tf32(self, value: bool) -> None:
        """Let products and convolutions in fp32 use TF32 or not."""
        torch.backends.cuda.matmul.allow_tf32 = value
        torch.backends.cudnn.allow_tf32 = value


def open_gpu(*, tiny: bool) -> Gpu:
    """Return the GPU.

    Args:
        tiny: Whether this is the rehearsal.

    Returns:
        The first GPU; in the rehearsal a CPU.

    Raises:
        SystemExit: If there is no GPU and this is no rehearsal.
    """
    if tiny:
        return Gpu(torch.device('cpu'), _CheckedCuda())
    if not torch.cuda.is_available():
        raise SystemExit('no GPU here: --cpu-rehearsal runs every step on a CPU.')
    return Gpu(torch.device('cuda', 0), torch.cuda)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most."""
    return dict(median=statistics.median(values), least=min(values), most=max(values))
