"""The next batch on its way to the GPU while the current one is computed.

A loader's ``next`` gives a batch in (pinned) host memory; copying it where it is needed lets the device wait. Here the
copy of the next batch is begun right after the current step has been launched, in a stream of its own: from pinned
memory it runs beside the kernels, and the wait for a late loader falls into the time in which the device is busy.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmopt.engine.logging.time_split import DeviceTime
from mmopt.structures import ReportedBatch, move_to
from mmopt.utils.placement import device_of

__all__ = ['BatchSource', 'CudaStreams', 'PrefetchedBatches', 'batch_source', 'copy_batch']


class BatchSource:
    """Batches one by one, as the loader gives them.

    Args:
        batches: The loader's iterator.
    """

    def __init__(self, batches: Iterator) -> None:
        self._batches = batches

    def take(self) -> Any:
        """Return the next batch; None at the end."""
        return next(self._batches, None)

    def advance(self) -> None:
        """Be told that the current step has been launched."""


class CudaStreams:
    """What a prefetcher needs of CUDA: a stream for copies and events between it and the stream that computes.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copies = torch.cuda.Stream(device)

    def copying(self) -> AbstractContextManager:
        """Return the context in which copies go into their own stream."""
        return torch.cuda.stream(self._copies)

    def record(self) -> torch.cuda.Event:
        """Return an event at the end of the copies that were begun."""
        event = torch.cuda.Event()
        event.record(self._copies)
        return event

    def wait(self, event: torch.cuda.Event) -> None:
        """Let the computing stream, not the host, wait for copies."""
        torch.cuda.current_stream(self.device).wait_event(event)

    def keep(self, tensor: Tensor) -> None:
        """Tell the allocator that the computing stream uses a tensor of the copying stream."""
        tensor.record_stream(torch.cuda.current_stream(self.device))


class PrefetchedBatches(BatchSource):
    """Batches on the device, the next one under way.

    Args:
        batches: The loader's iterator.
        copy: Moves a batch to the device.
        streams: :class:`CudaStreams`, or something like it.
        device_time: Counts how long the device waited for copies; None counts nothing.
    """

    def __init__(
        self, batches: Iterator, copy: Callable[[Any], Any], streams: Any, device_time: DeviceTime | None = None
    ) -> None:
        super().__init__(batches)
        self._copy = copy
        self._streams = streams
        self._device_time = device_time
        self._next: Any = None  # batch, event of its copy, and the host's batch

    def advance(self) -> None:
        """Take the next batch from the loader and begin to copy it."""
        if self._next is not None:
            return
        host = next(self._batches, None)
        if host is None:
            self._next = (None, None, None)
            return
        with self._streams.copying():
            batch = self._copy(host)
        # The host's copy must live until the device has read it.
        self._next = (batch, self._streams.record(), host)

    def take(self) -> Any:
        """Return the batch whose copy was begun, for the computing stream to use; None at the end."""
        self.advance()
        batch, copied, _ = self._next
        self._next = None
        if copied is None:
            return None
        start = self._device_time.mark() if self._device_time is not None else None
        self._streams.wait(copied)
        if self._device_time is not None:
            self._device_time.add('copy', start)
        for tensor in _tensors(batch):
            self._streams.keep(tensor)
        return batch


def _tensors(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        if part.device.type == 'cuda':
            yield part
    elif isinstance(part, ReportedBatch):
        yield from _tensors(part.batch)
    elif isinstance(part, BaseDataElement | dict):
        yield from _tensors(list(part.values()))
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _tensors(item)


def batch_source(
    batches: Iterator, module: Any, *, num_workers: int, enabled: bool, device_time: DeviceTime | None = None
) -> BatchSource:
    """Return a prefetcher where it helps and changes nothing, else the batches as they come.

    Without workers a batch is made when it is asked for: there is nothing to fetch ahead, and data sets that draw from
    the global generators would see another state of them.

    Args:
        batches: The loader's iterator.
        module: The model without its wrapper; fields that its data preprocessor names in ``host_fields`` stay.
        num_workers: Workers of the loader.
        enabled: False turns it off.
        device_time: See :class:`PrefetchedBatches`.

    Returns:
        The source.
    """
    device = device_of(module)
    if not enabled or not num_workers or device.type != 'cuda':
        return BatchSource(batches)
    return PrefetchedBatches(batches, lambda batch: copy_batch(batch, module), CudaStreams(device), device_time)


def copy_batch(batch: Any, module: Any) -> Any:
    """Copy a batch to where a model is, without waiting.

    Args:
        batch: In host memory.
        module: The model without its wrapper; fields that its data preprocessor names in ``host_fields`` stay.

    Returns:
        The copy.
    """
    host_fields = tuple(getattr(getattr(module, 'data_preprocessor', None), 'host_fields', ()))
    return move_to(batch, device_of(module), host_fields=host_fields)
