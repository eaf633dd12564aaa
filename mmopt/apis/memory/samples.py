"""The samples that an estimate's batches are made of: an example, the user's data, or made-up data in its place."""

import copy
import itertools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.data import IterableDataset

from mmopt.apis.memory.made_up import made_up_samples
from mmopt.apis.run.facts import build_dataset, collate_of
from mmopt.datasets.common import example_dataset
from mmopt.utils.errors import UserError

__all__ = ['SampleSource', 'batch_maker', 'bytes_of']

SCAN_SAMPLES = 256
LOOK_SAMPLES = 32
"""How many samples are read to find the largest: of a scan, and of a data set that gives no example."""


class SampleSource:
    """Gives samples; what was read is kept, since every case of an estimate asks for some.

    Args:
        cfg: A lowered config.
        max_items: Labels per sample; None: the data set's own worst case.
        scan: Take the samples that hold most of the data on disk instead of an example.

    Attributes:
        note: What the samples are, in words; empty for a data set's own example.
    """

    def __init__(self, cfg: Config, max_items: int | None = None, scan: bool = False) -> None:
        init_default_scope(cfg.get('default_scope', 'mmopt'))
        self.cfg, self.max_items, self.scan = cfg, max_items, scan
        self.kind, self.part = example_dataset(cfg.train_dataloader['dataset'])
        self.note = ''
        self._ranked: list | None = None

    def take(self, count: int) -> list:
        """Take samples, the largest first; more than there are repeat them.

        Args:
            count: How many.

        Returns:
            Samples of their own, which may be written to.

        Raises:
            UserError: If the data set gives no example, its data cannot be read, and nothing can be made up for it.
        """
        if not self.scan and hasattr(self.kind, 'example_sample'):
            # One sample stands for all: nobody writes to a batch in host memory.
            return [self.kind.example_sample(self.part, self.max_items)] * count
        if self._ranked is None:
            self._ranked = self._read()
        chosen = self._ranked[:count]
        # Copies: what takes a batch apart may write to its samples.
        return [copy.deepcopy(chosen[place % len(chosen)]) for place in range(count)]

    def _read(self) -> list:
        try:
            samples = _largest_samples(
                build_dataset(self.cfg, 'train_dataloader'), SCAN_SAMPLES if self.scan else LOOK_SAMPLES
            )
        except Exception as error:  # whatever a library's data set raises where its files are missing
            reason = f'{type(error).__name__}: {" ".join(str(error).split())}'.rstrip(': ')
            if self.scan:
                raise UserError(f'a scan needs the data, and the data cannot be read: {reason}') from error
            return self._made_up(reason)
        self.note = f'the largest of {len(samples)} samples of the data'
        return samples

    def _made_up(self, reason: str) -> list:
        try:
            with tempfile.TemporaryDirectory(prefix='mmopt-made-up-') as folder:
                samples, what = made_up_samples(self.cfg.train_dataloader['dataset'], Path(folder), self.max_items)
        except Exception as error:
            raise UserError(
                f'{self.kind.__name__} has no example_sample(), its data cannot be read ({reason}), and its pipeline '
                f'does not run on made-up data ({type(error).__name__}: {error}). Put the data there, or give the '
                'class an example_sample (docs/memory.md).'
            ) from error
        self.note = f'{what}; the data cannot be read ({reason})'
        return sorted(samples, key=bytes_of, reverse=True)[:1]


def batch_maker(
    cfg: Config, batch_size: int, max_items: int | None, scan: bool, source: SampleSource | None = None
) -> Callable[[], Any]:
    """Return what makes a collated batch of the config's shapes.

    Args:
        cfg: A lowered config.
        batch_size: Samples.
        max_items: See :class:`SampleSource`.
        scan: See :class:`SampleSource`.
        source: What was read already for the same data.

    Returns:
        A function without arguments.

    Raises:
        UserError: If there is nothing to make samples of.
    """
    source = source or SampleSource(cfg, max_items, scan)
    collate = collate_of(cfg.train_dataloader)
    if not scan and hasattr(source.kind, 'example_sample'):
        return lambda: collate(source.take(batch_size))
    samples = source.take(batch_size)  # now: files are no part of what is estimated
    return lambda: collate(_copied(samples))


def _copied(samples: list) -> list:
    """Copy real samples, whatever the simulator does to operators around here: fake tensors share no storage."""
    with _disable_current_modes():
        return copy.deepcopy(samples)


def _largest_samples(dataset: Any, count: int) -> list:
    """Read up to ``count`` samples spread over the data set and sort them by what they hold, the most first."""
    if isinstance(dataset, IterableDataset):
        samples = list(itertools.islice(dataset, count))
    else:
        stride = max(len(dataset) // count, 1)
        samples = [dataset[index] for index in range(0, len(dataset), stride)][:count]
    if not samples:
        raise UserError('the data set is empty.')
    return sorted(samples, key=bytes_of, reverse=True)


def bytes_of(value: Any) -> int:
    """Add up the tensors of a sample or batch."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(bytes_of(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(bytes_of(item) for item in value)
    return sum(bytes_of(item) for item in value.values()) if hasattr(value, 'all_items') else 0
