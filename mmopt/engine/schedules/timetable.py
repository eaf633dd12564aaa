"""Where iterations lie among epochs when epochs differ in length, as they do when the batch changes in a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ['Span', 'Timetable']


@dataclass(frozen=True)
class Span:
    """Epochs of one length.

    Attributes:
        until_epoch: First epoch, from 0, that belongs to the next span.
        epoch_length: Iterations per epoch.
        lr_scale: Factor on the base learning rate.
    """

    until_epoch: int
    epoch_length: int
    lr_scale: float = 1.0


@dataclass(frozen=True)
class Timetable:
    """Spans one after the other; the last one goes on beyond its end.

    Attributes:
        spans: At least one; each ends later than the one before.
    """

    spans: tuple[Span, ...]

    @property
    def max_iters(self) -> int:
        """Iterations up to the end of the last span."""
        return self.iters_until(self.spans[-1].until_epoch)

    def _starts(self) -> Iterator[tuple[int, int, Span]]:
        """Yield first epoch, first iteration and span."""
        epoch = iters = 0
        for span in self.spans:
            yield epoch, iters, span
            iters += (span.until_epoch - epoch) * span.epoch_length
            epoch = span.until_epoch

    def span_at(self, epoch: int) -> Span:
        """Return the span of an epoch."""
        return next((span for span in self.spans if epoch < span.until_epoch), self.spans[-1])

    def iters_until(self, epoch: int) -> int:
        """Return the iterations before an epoch begins."""
        start, iters, span = [place for place in self._starts() if place[0] <= epoch][-1]
        return iters + (epoch - start) * span.epoch_length

    def epoch_at(self, iters: int) -> int:
        """Return the epoch that an iteration belongs to."""
        start, first, span = [place for place in self._starts() if place[1] <= iters][-1]
        return start + (iters - first) // span.epoch_length

    def agrees_until(self, other: 'Timetable', epoch: int) -> bool:
        """Tell whether all epochs up to and with this one have the same lengths in both."""
        return all(
            self.span_at(number).epoch_length == other.span_at(number).epoch_length for number in range(epoch + 1)
        )

    def lengths(self) -> list[list[int]]:
        """Return ``[until_epoch, epoch_length]`` of the spans, as checkpoints keep them."""
        return [[span.until_epoch, span.epoch_length] for span in self.spans]

    @classmethod
    def of_lengths(cls, lengths: Sequence[Sequence[int]]) -> 'Timetable':
        """Return the timetable of :meth:`lengths`."""
        return cls(tuple(Span(until, length) for until, length in lengths))
