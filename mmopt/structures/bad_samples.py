"""How a data set tells the training, through workers and collation, that it had to leave samples out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data._utils.pin_memory import pin_memory

__all__ = ['CollateSubstitutes', 'ReportedBatch', 'Substitute']


@dataclass(frozen=True)
class Substitute:
    """A sample in the place of bad ones.

    Attributes:
        reports: What was wrong, one text per bad sample.
    """

    sample: Any
    reports: tuple[str, ...]


@dataclass(frozen=True)
class ReportedBatch:
    """A batch in which samples stand for bad ones.

    Attributes:
        batch: The collated batch.
        reports: What was wrong, one text per bad sample.
    """

    batch: Any
    reports: tuple[str, ...]

    def pin_memory(self) -> 'ReportedBatch':
        """Return a copy in page-locked memory; the loader asks."""
        return ReportedBatch(pin_memory(self.batch), self.reports)


@dataclass(frozen=True)
class CollateSubstitutes:
    """Collate samples, substitutes among them.

    Attributes:
        collate: Collates plain samples.
    """

    collate: Callable[[list], Any]

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the batch; a :class:`ReportedBatch` if there is something to report."""
        plain = [sample.sample if isinstance(sample, Substitute) else sample for sample in samples]
        reports = tuple(text for sample in samples if isinstance(sample, Substitute) for text in sample.reports)
        batch = self.collate(plain)
        return ReportedBatch(batch, reports) if reports else batch
