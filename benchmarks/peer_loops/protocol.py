"""What a trainer is given, and what it tells."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, Dataset

from .tasks import Samples, Task

__all__ = ['LOG_EVERY', 'Run']

LOG_EVERY = 50


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        task: What is trained.
        task_name: Its name in ``TASKS``.
        iters: Iterations in all.
        epoch_length: Samples of an epoch.
        work_dir: Where checkpoints go.
        save_every: Iterations between checkpoints; None saves only where the trainer does so by itself.
        resume: Go on from the newest checkpoint of the work directory.
        vary: Shuffle, and draw noise for every sample: what a resumed run has to repeat.
        num_workers: Worker processes of the loader.
        on_step: To be called after every iteration, with its loss.
    """

    task: Task
    task_name: str
    iters: int
    epoch_length: int
    work_dir: Path
    save_every: int | None
    resume: bool
    vary: bool
    num_workers: int
    on_step: Callable[[Tensor], None]

    def samples(self) -> Dataset:
        """Return the data set."""
        return Samples(self.task.make_sample, self.epoch_length, noise=self.vary)

    def loader(self) -> DataLoader:
        """Return torch's loader, for trainers that make none themselves."""
        return DataLoader(
            self.samples(),
            batch_size=self.task.batch_size,
            shuffle=self.vary,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            drop_last=True,
            pin_memory=torch.cuda.is_available(),
            collate_fn=pseudo_collate,
        )

    def optimizer(self, network: nn.Module) -> tuple[Optimizer, CosineAnnealingLR]:
        """Return torch's optimizer and schedule, for trainers that make none themselves."""
        settings = dict(self.task.optimizer)
        optimizer = getattr(torch.optim, settings.pop('type'))(network.parameters(), **settings)
        return optimizer, CosineAnnealingLR(optimizer, self.iters)
