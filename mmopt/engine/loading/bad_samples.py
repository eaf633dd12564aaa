"""Samples that a training left out because their data is broken: counted, named once in the log, listed at the end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmopt.config.spelling import spelled
from mmopt.engine.loading.guarded import innermost
from mmopt.structures import CollateSubstitutes, ReportedBatch
from mmopt.utils.errors import UserError

__all__ = ['BadSamples', 'skip_bad_samples']

_LISTED = 20
FILE_NAME = 'bad_samples.txt'


def skip_bad_samples(loader: DataLoader) -> None:
    """Let the data set of a loader put the next good sample into the place of a bad one, and the loader report it.

    Args:
        loader: The loader, before its first iterator.

    Raises:
        UserError: If its data set cannot.
    """
    for dataset in innermost(loader.dataset):
        if not hasattr(dataset, 'on_bad_sample'):
            raise UserError(
                f"{spelled('train_dataloader.on_bad_sample')}='skip' needs data sets derived from mmopt's "
                f"SeededDataset; {type(dataset).__name__} is none: write 'raise'."
            )
        dataset.on_bad_sample = 'skip'
    loader.collate_fn = CollateSubstitutes(loader.collate_fn)


class BadSamples:
    """Count what was left out. Each rank counts its own; a checkpoint has the sums.

    Args:
        logger: Takes each new report once.
    """

    def __init__(self, logger: MMLogger) -> None:
        self.logger = logger
        self.counts: Counter[str] = Counter()

    def unpack(self, batch: Any) -> Any:
        """Return the batch, and count what it reports."""
        if not isinstance(batch, ReportedBatch):
            return batch
        for text in batch.reports:
            if text not in self.counts:
                self.logger.warning(f'Left out a bad sample: {text}')
            self.counts[text] += 1
        return batch.batch

    def gather(self) -> dict[str, int]:
        """Return the counts of all ranks. All ranks must ask."""
        return dict(sum(all_gather_object(self.counts), Counter()))

    def restore(self, counts: Mapping[str, int]) -> None:
        """Go on counting where a checkpoint was."""
        self.counts = Counter(counts if is_main_process() else {})

    def list_all(self, work_dir: Path) -> None:
        """Log what was left out, and write all of it to ``bad_samples.txt``. All ranks must call it."""
        counts = self.gather()
        if not counts or not is_main_process():
            return
        lines = [f'{times} x {text}' for text, times in sorted(counts.items())]
        path = work_dir / FILE_NAME
        path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
        self.logger.warning(_headline(counts, lines, path))


def _headline(counts: Mapping[str, int], lines: Sequence[str], path: Path) -> str:
    shown = '\n  '.join(lines[:_LISTED])
    more = f'\n  and {len(lines) - _LISTED} more: {path}' if len(lines) > _LISTED else f'\n  (also in {path})'
    kinds = f'{len(counts)} bad sample{"s were" if len(counts) > 1 else " was"}'
    return f'{kinds} left out, {sum(counts.values())} times in all:\n  {shown}{more}'
