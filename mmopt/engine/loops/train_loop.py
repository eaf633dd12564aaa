"""Training loops: when a step runs, when an evaluation, and where a resumed run goes on.

``iters_done`` and ``epochs_done`` count what is finished; ``iter`` and ``epoch`` keep MMEngine's meaning for its hooks
(inside ``after_train_iter`` the running iteration is not yet counted).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner.base_loop import BaseLoop
from torch import nn
from torch.utils.data import DataLoader

from mmopt.config.spelling import spelled
from mmopt.engine.guards.bad_numbers import BadNumberError, BadNumberGuard, BadNumberPolicy, RollBack
from mmopt.engine.guards.classes import check_classes
from mmopt.engine.guards.signals import StopSignals, TrainingStopped
from mmopt.engine.guards.weights import bad_weights, describe_bad_weights
from mmopt.engine.loading.bad_samples import BadSamples
from mmopt.engine.loading.guarded import GuardedLoader
from mmopt.engine.loading.prefetch import BatchSource, batch_source
from mmopt.engine.loading.worker_death import worker_deaths_explained
from mmopt.engine.loading.workers import LoaderTuner
from mmopt.engine.logging.time_split import DeviceTime, TimeSplit
from mmopt.engine.loops.evaluation_loops import EvaluationStopped
from mmopt.engine.loops.evaluation_points import interval_at, should_evaluate
from mmopt.engine.loops.phases import Freezer
from mmopt.engine.loops.step import TrainStep, unwrap
from mmopt.engine.micro_batch import AutoMicroBatchStep, MicroBatchState, build_step
from mmopt.engine.parallel.fsdp import is_sharded
from mmopt.structures import samples_per_batch
from mmopt.utils.distributed import largest_of_all

__all__ = ['TrainLoop', 'no_batch']


class TrainLoop(BaseLoop):
    """What iteration- and epoch-based training share.

    Args:
        dataloader: The training loader or its config.
        val_begin: No evaluation before this one (MMEngine's meaning; the interval counts from 0).
        val_interval: Evaluate every so many iterations (epochs).
        dynamic_intervals: ``(milestone, interval)`` pairs, each for what comes after its milestone.
        val_start: First evaluation; the interval counts from there (mmcv's ``evaluation.start``).
        val_at_end: Evaluate once more when the run ends without an evaluation since its last step.
        dynamic_from_milestone: An interval holds from its milestone on, as in mmcv; False: from the one before it on,
            as in MMEngine.
        micro_batch: Samples per forward pass; None runs each batch as it is, ``'auto'`` finds the size that fits.
        device_prefetch: Copy the next batch to a GPU while the current one is computed.
        bad_numbers: Arguments of :class:`BadNumberPolicy`: what to do about a loss that is not finite.
    """

    unit: str
    dataloader: DataLoader

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        *,
        val_start: int | None = None,
        val_at_end: bool = True,
        dynamic_from_milestone: bool = False,
        micro_batch: int | str | None = None,
        device_prefetch: bool = True,
        bad_numbers: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self.val_interval = val_interval
        self.val_begin = val_begin
        self.val_start = val_start
        shift = 0 if dynamic_from_milestone else 1
        self.dynamic_intervals = [(milestone - shift, every) for milestone, every in dynamic_intervals or ()]
        self.val_at_end = val_at_end
        self.micro_batch = micro_batch
        self.device_prefetch = device_prefetch
        self.bad_numbers = BadNumberPolicy(**(bad_numbers or {}))
        self.bad_samples = BadSamples(runner.logger)
        self._rollbacks: list[str] = []  # the checkpoint of each
        self.stop_training = False  # set by EarlyStoppingHook
        self.iters_done = 0
        self.epochs_done = 0
        self._iter = 0
        self._epoch = 0
        self.evaluated_at = -1
        """Finished iterations at the last evaluation; -1 before the first."""
        self._owes_evaluation = False
        self._signals = StopSignals()
        self._resumed_at = (0, 0)  # iterations and samples
        self._loader_iter: Iterator | None = None
        self._batches: BatchSource | None = None  # _read() sets it before the first iteration
        self._step: TrainStep | None = None
        self._freezer: Freezer | None = None
        self._step_end = 0.0
        self._data_s = 0.0
        self._split: TimeSplit = runner.time_split
        self._device_time = DeviceTime() if torch.cuda.is_available() else None
        self._tuner = LoaderTuner(getattr(self.dataloader, 'plan', None))
        self._found: MicroBatchState | None = None
        runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    @property
    def iter(self) -> int:
        """Running iteration, from 0 (MMEngine's meaning)."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Running epoch, from 0."""
        return self._epoch

    @property
    def val_interval(self) -> int:
        """Iterations (epochs) between two evaluations, where the run is."""
        return interval_at(self.units_done, self._val_interval, self.dynamic_intervals)

    @val_interval.setter
    def val_interval(self, interval: int) -> None:
        self._val_interval = interval

    @property
    def units_done(self) -> int:
        """Finished iterations, or epochs where the loop counts those."""
        return self.epochs_done if self.unit == 'epoch' else self.iters_done

    @property
    def step(self) -> TrainStep:
        """What runs an iteration; built when it is first asked for, also by a loop that replaces :meth:`run`."""
        if self._step is None:
            self._build_step(self._found)
        assert self._step is not None
        return self._step

    @property
    def global_batch(self) -> int:
        """Samples of one iteration over all ranks."""
        return samples_per_batch(self.dataloader) * get_world_size()

    @property
    def iters_since_break(self) -> int:
        """Finished iterations since the last evaluation: log lines do not average across it, as in mmcv."""
        return self.iters_done - max(self.evaluated_at, 0)

    @property
    def samples_done(self) -> int:
        """Samples that all ranks have taken, whatever the batch was before the run was resumed."""
        iters, samples = self._resumed_at
        return samples + (self.iters_done - iters) * self.global_batch

    def micro_batch_found(self) -> dict[str, Any] | None:
        """Return what a checkpoint keeps of the size that was found; None where the config gives it."""
        return self._step.state.to_dict() if isinstance(self._step, AutoMicroBatchStep) else None

    def set_position(self, meta: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was.

        Args:
            meta: ``iter`` and ``epoch`` that are finished and, of mmopt's own checkpoints, ``samples`` taken over all
                ranks, the ``epoch_length`` in iterations and where the last evaluation was (``evaluated_at``).
        """
        self.iters_done = self._iter = meta['iter']
        self.bad_samples.restore(meta.get('bad_samples') or {})
        self.evaluated_at = meta.get('evaluated_at', -1)
        # Checkpoints are written before the evaluation of their iteration: a run killed in it still owes it.
        self._owes_evaluation = 'evaluated_at' in meta and self.evaluated_at != self.iters_done
        samples = meta.get('samples')
        self._resumed_at = (self.iters_done, self.iters_done * self.global_batch if samples is None else samples)
        found = meta.get('micro_batch')
        self._found = None if found is None else MicroBatchState.from_dict(found)

    def run(self) -> nn.Module:
        """Train to the end.

        Returns:
            The model.

        Raises:
            TrainingStopped: If a signal asked for it; everything is saved then.
        """
        with self._signals:
            self._begin()
            try:
                with worker_deaths_explained(self.dataloader):
                    while not self._finish_or_roll_back():
                        pass
            finally:
                self._split.switch('hooks')
        if (guard := getattr(self.step, 'guard', None)) is not None and guard.num_skipped:
            verb = 'iteration was' if guard.num_skipped == 1 else 'iterations were'
            self.runner.logger.warning(f'{guard.num_skipped} {verb} skipped: their losses were not finite (see above).')
        self.bad_samples.list_all(Path(self.runner.work_dir))
        self.runner.call_hook('after_train')
        self._split.switch(None)
        return self.runner.model

    def epoch_lengths(self) -> dict[str, list]:
        """Return what a checkpoint must know of epochs of unequal length; nothing where they are alike."""
        return {}

    def _set_train_mode(self) -> None:
        self.runner.model.train()
        if self._freezer is not None:
            self._freezer.set_modes()

    def _train(self) -> None:
        """Run all iterations that are left."""
        raise NotImplementedError

    def _finish_or_roll_back(self) -> bool:
        try:
            self._train()
        except RollBack as wanted:
            self._close()
            self._roll_back(wanted)
            return False
        finally:
            self._close()
        return True

    def _roll_back(self, wanted: RollBack) -> None:
        policy = self.bad_numbers
        path = self.runner.last_checkpoint()
        if path is None:
            raise BadNumberError(f'{wanted.explain()}\n  There is no checkpoint yet to roll back to.')
        if len(self._rollbacks) == policy.max_rollbacks:
            raise BadNumberError(f'{wanted.explain()}\n  bad_numbers.max_rollbacks={policy.max_rollbacks} are used up.')
        self._rollbacks.append(str(path))
        factor = policy.lr_factor ** self._rollbacks.count(str(path))
        self.runner.logger.warning(
            f'{wanted.report} Back to {path}, with {factor:g} times its learning rate '
            f'(rollback {len(self._rollbacks)} of {policy.max_rollbacks}).'
        )
        self.runner.roll_back(path, factor)
        self._step_end = self._split.switch('data')

    def refuse_bad_weights(self) -> None:
        """Refuse weights that are not finite; called before a checkpoint is written. All ranks must call it.

        Raises:
            BadNumberError: If there are any.
            RollBack: In its place, where ``bad_numbers`` says so.
        """
        module, group = unwrap(self.runner.model), self._signals.shared_by_all
        bad = bad_weights(module)
        if is_sharded(module) and group is not None and largest_of_all(int(bool(bad)), group):
            bad = bad or ['those of another process']
        if not bad:
            return
        text = describe_bad_weights(bad, self.iters_done)
        raise RollBack(text, lambda: text) if self.bad_numbers.action == 'rollback' else BadNumberError(text)

    def _make_guard(self) -> BadNumberGuard:
        group = self._signals.shared_by_all
        if self.bad_numbers.action == 'raise' and not is_sharded(self.step.module):
            group = None  # the rank that sees it ends the run
        return BadNumberGuard(
            self.bad_numbers,
            self.step.module,
            self.runner.optim_wrapper,
            iters_done=lambda: self.iters_done,
            warn=self.runner.logger.warning,
            ask_all=None if group is None else partial(largest_of_all, group=group),
        )

    def _stop_if_asked(self) -> None:
        if (name := self._signals.poll()) is not None:
            self._stop(name)

    def _stop(self, signal_name: str) -> None:
        path = self.runner.save_now()
        self.runner.logger.info(f'Stopped by {signal_name} after {self.iters_done} iterations; saved as {path}.')
        raise TrainingStopped(signal_name, self.iters_done, str(path))

    def _build_step(self, found: MicroBatchState | None) -> None:
        self._step = build_step(self.runner, self.micro_batch, found)
        if not self.step.model_owns_step:
            self.step.guard = self._make_guard()

    def _begin(self) -> None:
        check_classes(unwrap(self.runner.model), self.dataloader.dataset)
        self._build_step(self._found)
        self.runner.call_hook('before_train')
        self._step_end = self._split.switch('data')

    @property
    def device_seconds(self) -> dict[str, float] | None:
        """Seconds that a GPU copied and computed in training steps; None on a CPU."""
        return None if self._device_time is None else self._device_time.seconds

    def _read(self, batches: Iterator) -> None:
        """Let the next batches come from this iterator."""
        self._batches = batch_source(
            batches,
            unwrap(self.runner.model),
            num_workers=self.dataloader.num_workers,
            enabled=self.device_prefetch,
            device_time=self._device_time,
        )

    def _next(self) -> Any:
        """Take a batch, or None at the end of the epoch."""
        assert self._batches is not None, '_read() comes first'
        self._split.switch('data')
        # Counted when it is taken, not when it is fetched ahead: a checkpoint counts what was trained on.
        return self.bad_samples.unpack(self._batches.take())

    def _open(self, epoch: int, iters_into_epoch: int, position: int) -> Iterator:
        """Start the loader at a position (in samples); a sampler that cannot jump is replayed, which the log says."""
        sampler = self.dataloader.sampler
        if hasattr(sampler, 'set_position'):
            sampler.set_position(position)
            iters_into_epoch = 0
        elif hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(epoch)
        if isinstance(self.dataloader, GuardedLoader):
            self.dataloader.passes = epoch  # so that samples draw what they would have drawn
        batches = self._loader_iter = iter(self.dataloader)
        if iters_into_epoch:
            self.runner.logger.warning(
                f'{type(sampler).__name__} cannot start in the middle: reading {iters_into_epoch} batches again. '
                "sampler=dict(type='ResumableSampler') resumes at once."
            )
            for _ in range(iters_into_epoch):
                next(batches)
        # After the loader is made, before anything is drawn: making a loader may draw random numbers itself.
        self.runner.restore_rng_state()
        return batches

    def _close(self) -> None:
        """Stop the workers now: left to the garbage collector, each may be waited for 5 s at an odd moment."""
        shut_down = getattr(self._loader_iter, '_shutdown_workers', None)
        if shut_down is not None:
            shut_down()
        self._loader_iter = None
        self.dataloader._iterator = None  # what persistent workers leave behind

    def _run_iter(self, batch_idx: int, batch: Any, *, is_last: bool) -> None:
        runner, split, device_time = self.runner, self._split, self._device_time
        now = split.switch('hooks')
        if not self._step_end:  # a loop that replaces run() begins here
            self._step_end = now
        runner.call_hook('before_train_iter', batch_idx=batch_idx, data_batch=batch)
        split.switch('compute')
        start = None if device_time is None else device_time.mark()
        outputs = self.step(batch)
        if device_time is not None:
            device_time.add('compute', start)
        self.iters_done += 1
        if not is_last and self._batches is not None:
            split.switch('data')
            self._batches.advance()
        # From one step's end to the next: hooks and the wait for data are part of an iteration, evaluations are not.
        now = split.switch('hooks')
        data_s = split.seconds['data']
        times = dict(data_time=data_s - self._data_s, time=now - self._step_end)
        self._tuner.observe(**times)
        self._step_end, self._data_s = now, data_s
        runner.call_hook('after_train_iter', batch_idx=batch_idx, data_batch=batch, outputs={**outputs, **times})
        self._iter += 1

    def _change_workers(self) -> bool:
        """Tell whether the measured steps ask for another number of workers; the loader then starts anew."""
        change = self._tuner.decide(self.max_iters - self.iters_done)
        if change is None or not hasattr(self.dataloader.sampler, 'set_position'):
            return False
        self.runner.logger.info(change.text)
        if change.num_workers == self.dataloader.num_workers:
            return False
        self._close()
        self.dataloader.num_workers = change.num_workers
        return True

    def _evaluate_at_start(self, done: int) -> None:
        """Evaluate what a killed run still owed, and before the first step where mmcv does.

        mmcv asks for the point that the first step will reach.
        """
        if self._owes_evaluation and done:
            self._owes_evaluation = False
            self._evaluate_if_due(done)
        if self.val_start is not None and done >= self.val_start:
            self._evaluate_if_due(done + 1)

    def _evaluate_if_due(self, done: int) -> None:
        due = done >= self.val_begin and should_evaluate(
            done, self.val_interval, self.val_start, self.dynamic_intervals
        )
        if due and self.runner.val_loop is not None:
            self._evaluate()

    def _evaluate_at_end(self) -> None:
        """Evaluate what the run ends with, unless that has been done; the loader's workers are no longer needed."""
        is_owed = self.evaluated_at != self.iters_done and self.units_done >= self.val_begin
        if self.val_at_end and is_owed and self.runner.val_loop is not None:
            self._close()
            self._evaluate()

    def _evaluate(self) -> None:
        start = time.perf_counter()
        loop = self.runner.val_loop
        loop.poll = self._signals.poll
        with self._split.measure('evaluation'):
            try:
                loop.run()
            except EvaluationStopped as stopped:
                self._stop(stopped.signal_name)
            self._set_train_mode()
        self.evaluated_at = self.iters_done
        self._step_end += time.perf_counter() - start


def no_batch(dataloader: DataLoader) -> str:
    """Return the error of a loader without a batch."""
    dataset: Any = dataloader.dataset
    return (
        f'An epoch has no batch: {len(dataset)} samples make no full batch of {dataloader.batch_size} and '
        f'drop_last is on; lower {spelled("train_dataloader.batch_size")}.'
    )
