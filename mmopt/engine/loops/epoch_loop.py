"""The training loop that counts epochs, and its phases: what is frozen for how long, with which batch."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader

from mmopt.engine.loading.workers import LoaderTuner
from mmopt.engine.loops.phases import Freezer, Phase, check_schedulers, make_loaders, make_timetable, parse_phases
from mmopt.engine.loops.step import unwrap
from mmopt.engine.loops.train_loop import TrainLoop, no_batch
from mmopt.engine.schedules.timetable import Timetable
from mmopt.registry import LOOPS
from mmopt.structures import samples_per_batch

__all__ = ['EpochBasedTrainLoop']


@LOOPS.register_module()
class EpochBasedTrainLoop(TrainLoop):
    """Train for a number of passes over the data set.

    Args:
        dataloader: The training loader or its config.
        max_epochs: Epochs of the run.
        val_begin: See :class:`TrainLoop`.
        val_interval: Evaluate every so many epochs.
        dynamic_intervals: See :class:`TrainLoop`.
        phases: What is frozen and how large the batch is, for how long; see :mod:`mmopt.engine.loops.phases`.
        **kwargs: See :class:`TrainLoop`.

    Raises:
        ValueError: If ``max_epochs`` is not a positive whole number.
        UserError: If the phases cannot be.
    """

    unit = 'epoch'

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        *,
        phases: Sequence[Mapping[str, Any]] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals, **kwargs)
        if int(max_epochs) != max_epochs or max_epochs < 1:
            raise ValueError(f'max_epochs must be a positive whole number, got {max_epochs!r}.')
        self._max_epochs = int(max_epochs)
        self.phases = parse_phases(phases, self._max_epochs)
        self.loaders = make_loaders(self.phases, self.dataloader, dataloader, runner)
        for loader in self.loaders:
            if not len(loader):
                raise ValueError(no_batch(loader))
        self.timetable: Timetable | None = None
        """Where epochs begin; None where all are alike."""
        if len(self.phases) > 1 or self.loaders[0] is not self.dataloader:
            self.timetable = make_timetable(self.phases, self.loaders, samples_per_batch(self.dataloader))
        self.dataloader = self.loaders[0]
        self._phase: Phase | None = None

    @property
    def max_epochs(self) -> int:
        """Epochs of the run."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the run."""
        return self.iters_until(self._max_epochs)

    @property
    def _max_iters(self) -> int:
        return self.max_iters  # what MMEngine's loop calls it

    def iters_until(self, epoch: int) -> int:
        """Return the iterations before an epoch begins."""
        return epoch * len(self.dataloader) if self.timetable is None else self.timetable.iters_until(epoch)

    def epoch_lengths(self) -> dict[str, list]:
        """Return where the epochs of unequal phases begin."""
        return {} if self.timetable is None else dict(epoch_lengths=self.timetable.lengths())

    @property
    def samples_done(self) -> int:
        """Samples that all ranks have taken, counted in epochs: the batch may have changed in between."""
        if self.timetable is None:
            return super().samples_done
        dataset: Any = self.dataloader.dataset
        length = getattr(self.dataloader.sampler, 'epoch_length', len(dataset))
        return self.epochs_done * length + self.iters_since_break * self.global_batch

    def _enter_phase(self) -> None:
        """Freeze, thaw and change the batch where the running epoch begins a phase."""
        index = next(
            (number for number, phase in enumerate(self.phases) if self._epoch < phase.until_epoch),
            len(self.phases) - 1,
        )
        phase = self.phases[index]
        if phase is self._phase:
            return
        self._close()
        if self.dataloader is not self.loaders[index]:
            self.dataloader = self.loaders[index]
            self._tuner = LoaderTuner(getattr(self.dataloader, 'plan', None))
        is_frozen = self._freezer is not None
        if self._freezer is not None:
            self._freezer.thaw()
            self._freezer = None
        if phase.freeze:
            self._freezer = Freezer(unwrap(self.runner.model), phase.freeze)
        if is_frozen or phase.freeze:
            self.runner.wrap_again()
        if len(self.phases) > 1 or phase.freeze:
            # What fits into memory is found anew for each phase, also where a run is resumed just at its beginning.
            start = self.phases[index - 1].until_epoch if index else 0
            is_begun = self._phase is None and self.iters_done > self.iters_until(start)
            self._build_step(self._found if is_begun else None)
        if self.timetable is not None or phase.freeze:
            frozen = f'{", ".join(phase.freeze)} frozen' if phase.freeze else 'nothing frozen'
            self.runner.logger.info(
                f'Phase {index + 1} of {len(self.phases)}, epochs {self._epoch + 1} to {phase.until_epoch}: '
                f'{samples_per_batch(self.dataloader)} samples per iteration, {frozen}.'
            )
        self._phase = phase

    @property
    def iters_since_break(self) -> int:
        """Finished iterations of the running epoch: log lines do not average over two, as in mmcv."""
        return self.iters_done - self.iters_until(self.epochs_done)

    def set_position(self, meta: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was; at the beginning of its epoch if epochs had another length there.

        Args:
            meta: See :meth:`TrainLoop.set_position`.
        """
        if self.timetable is not None or 'epoch_lengths' in meta:
            self._set_position_among_phases(meta)
            return
        iters, now = meta['iter'], len(self.dataloader)
        then, epochs = meta.get('epoch_length'), meta.get('epoch', 0)
        if then is None:
            # Of mmcv and MMEngine, which save at the end of epochs.
            then = now if iters // now == epochs or not epochs else max(iters // epochs, 1)
        epochs = iters // then
        if then != now:
            self.runner.logger.warning(
                f'An epoch has {now} iterations, in the checkpoint it had {then} (another batch, number of processes '
                f'or data set): going on at the beginning of epoch {epochs + 1}, which is iteration {epochs * now}.'
            )
            iters = epochs * now
        evaluated = dict(evaluated_at=meta['evaluated_at']) if then == now and 'evaluated_at' in meta else {}
        super().set_position(dict(iter=iters, **_kept(meta), **evaluated))
        self.epochs_done = self._epoch = epochs

    def _set_position_among_phases(self, meta: Mapping[str, Any]) -> None:
        table = self.timetable or make_timetable(self.phases, self.loaders, samples_per_batch(self.dataloader))
        lengths = meta.get('epoch_lengths') or [[self.max_epochs, meta.get('epoch_length') or len(self.loaders[0])]]
        then = Timetable.of_lengths(lengths)
        iters = meta['iter']
        epochs = then.epoch_at(iters)
        is_begun = iters > then.iters_until(epochs)
        is_exact = then.agrees_until(table, epochs if is_begun else epochs - 1)
        if not is_exact:
            iters = table.iters_until(epochs)
            self.runner.logger.warning(
                f'Epochs have other numbers of iterations than in the checkpoint (other phases, another batch, number '
                f'of processes or data set): going on at the beginning of epoch {epochs + 1}, which is iteration '
                f'{iters}.'
            )
        evaluated = dict(evaluated_at=meta['evaluated_at']) if is_exact and 'evaluated_at' in meta else {}
        super().set_position(dict(iter=iters, **_kept(meta), **evaluated))
        self.epochs_done = self._epoch = epochs

    def _train(self) -> None:
        check_schedulers(self.timetable, self.runner.param_schedulers)
        self._owes_evaluation &= self.iters_done == self.iters_until(self.epochs_done)
        self._evaluate_at_start(self.epochs_done)
        while self.epochs_done < self.max_epochs and not self.stop_training:
            self.run_epoch()
            self._stop_if_asked()
            self._evaluate_if_due(self.epochs_done)
        self._evaluate_at_end()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Run one iteration with its hooks.

        Args:
            idx: Its place in the epoch.
            data_batch: A batch as the loader gives it.
        """
        self._run_iter(idx, data_batch, is_last=False)  # the source knows where the epoch ends

    def run_epoch(self) -> None:
        """Run what is left of the epoch."""
        runner = self.runner
        self._enter_phase()
        runner.call_hook('before_train_epoch')
        self._set_train_mode()
        first = self.iters_since_break
        length = getattr(self.dataloader.sampler, 'epoch_length', 0)
        self._read(self._open(self._epoch, first, self._epoch * length + first * self.global_batch))
        batch_idx = first
        while (batch := self._next()) is not None:
            self.run_iter(batch_idx, batch)
            batch_idx += 1
            if batch_idx < len(self.dataloader):  # else the epoch's end is done first
                self._stop_if_asked()
                if self._tuner.is_due and self._change_workers():
                    self._read(self._open(self._epoch, batch_idx, self._epoch * length + batch_idx * self.global_batch))
        self.epochs_done += 1
        runner.call_hook('after_train_epoch')
        self._epoch += 1


def _kept(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is carried over wherever the run goes on."""
    return {key: meta.get(key) for key in ('micro_batch', 'bad_samples')}
