"""The training loop that counts iterations over an endless stream of samples."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader

from mmopt.engine.loops.train_loop import TrainLoop, no_batch
from mmopt.registry import LOOPS

__all__ = ['IterBasedTrainLoop']


@LOOPS.register_module()
class IterBasedTrainLoop(TrainLoop):
    """Train for a number of iterations over an endless stream of samples.

    Args:
        dataloader: The training loader or its config.
        max_iters: Iterations of the run.
        val_begin: See :class:`TrainLoop`.
        val_interval: Evaluate every so many iterations.
        dynamic_intervals: See :class:`TrainLoop`.
        **kwargs: See :class:`TrainLoop`.

    Raises:
        ValueError: If ``max_iters`` is not a positive whole number.
    """

    unit = 'iter'

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals, **kwargs)
        if int(max_iters) != max_iters or max_iters < 1:
            raise ValueError(f'max_iters must be a positive whole number, got {max_iters!r}.')
        if not len(self.dataloader) and not getattr(self.dataloader.sampler, 'endless', False):
            raise ValueError(no_batch(self.dataloader))
        self._max_iters = int(max_iters)
        self._max_epochs = 1  # MMEngine's hooks read it; an iteration-based run is one epoch to them
        self._warned = False

    @property
    def max_iters(self) -> int:
        """Iterations of the run."""
        return self._max_iters

    @property
    def max_epochs(self) -> int:
        """1: what MMEngine's hooks are told."""
        return self._max_epochs

    @property
    def dataloader_iterator(self) -> Iterator:
        """The batches that are left, without an end: what a loop with a :meth:`run` of its own draws from."""
        return _Batches(self)

    def next_batch(self) -> Any:
        """Take the next batch of the run."""
        if self._batches is None:
            self._read(self._stream())
        return self._next()

    def _stream(self) -> Iterator:
        epoch, first = 0, self.iters_done
        if not hasattr(self.dataloader.sampler, 'set_position'):
            epoch, first = divmod(first, len(self.dataloader))
        batches = self._open(epoch, first, self.samples_done)
        while True:
            yield from batches
            # Only a foreign, finite sampler gets here: ours is endless.
            epoch += 1
            if not self._warned:
                self._warned = True
                self.runner.logger.warning(
                    f'{type(self.dataloader.sampler).__name__} ends after {len(self.dataloader)} batches: the loader '
                    "starts anew for each pass over the data set. sampler=dict(type='InfiniteSampler') has no end."
                )
            if hasattr(self.dataloader.sampler, 'set_epoch'):
                self.dataloader.sampler.set_epoch(epoch)
            batches = self._loader_iter = iter(self.dataloader)

    def run_iter(self, data_batch: Any) -> None:
        """Run one iteration with its hooks.

        Args:
            data_batch: A batch as the loader gives it.
        """
        self._run_iter(self._iter, data_batch, is_last=self.iters_done + 1 == self._max_iters)

    def _train(self) -> None:
        runner = self.runner
        runner.call_hook('before_train_epoch')
        runner.model.train()
        self._evaluate_at_start(self.iters_done)
        self._read(self._stream())
        while self.iters_done < self.max_iters and not self.stop_training:
            self.run_iter(self._next())
            self._stop_if_asked()
            self._evaluate_if_due(self.iters_done)
            if self._tuner.is_due and self._change_workers():
                self._read(self._stream())
        self._evaluate_at_end()
        runner.call_hook('after_train_epoch')


class _Batches(_InfiniteDataloaderIterator):
    """Ask a loop for batches; of MMEngine's class, which code for its loop may look for."""

    def __init__(self, loop: IterBasedTrainLoop) -> None:
        self._loop = loop

    def __next__(self) -> Any:
        return self._loop.next_batch()
