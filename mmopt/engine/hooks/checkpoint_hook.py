"""When to save a checkpoint, which to delete, and which is the best: mmcv 1.7.2's rules and names."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.fileio import FileClient, get_file_backend
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.config.spelling import spelled
from mmopt.engine import checkpoint_io
from mmopt.engine.hooks.best_rule import as_list, find_score, infer_rule, parse_rules
from mmopt.registry import HOOKS
from mmopt.utils.errors import UserError

__all__ = ['CheckpointHook']

_EXTRA = 'extra_checkpoint'  # what a stopped run saved off its interval


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save ``iter_N.pth`` or ``epoch_N.pth``, ``last_checkpoint`` and the best checkpoints, in the work dir.

    A best checkpoint is ``best_{metric}_{iter|epoch}_{N}.pth`` as in mmcv; ``best_{metric}.pth`` is a second name of
    the same file. The scores travel in the message hub (``best_checkpoints``), so that they survive a resume.

    Args:
        interval: Save every so many iterations (epochs); below 1: only the last.
        by_epoch: Whether ``interval`` and file names count epochs.
        save_optimizer: Whether the checkpoints of ``interval`` can be resumed; the best ones always can.
        save_param_scheduler: Whether those checkpoints hold the state of the schedules.
        out_dir: Save in ``out_dir/<name of the work dir>`` instead of the work dir; ``last_checkpoint`` stays there.
            For an address such as ``s3://...`` the work dir keeps its files and copies of them go there.
        max_keep_ckpts: Checkpoints to keep, of those that ``interval`` made; below 1: all. As in mmcv, one more that
            the end of the run made off the interval is not counted.
        save_last: Save at the end of training whatever ``interval`` says.
        save_best: Metric name, several, or ``'auto'`` (the first metric of the first evaluation); None: no best.
        rule: ``'greater'`` or ``'less'``, for all or one per metric; None: by key words in the name.
        greater_keys: Key words of metrics of which more is better; None: mmcv's.
        less_keys: Key words of metrics of which less is better; None: mmcv's.
        file_client_args: The older word for ``backend_args``.
        filename_tmpl: File name with ``{}`` for the number; None: ``iter_{}.pth`` or ``epoch_{}.pth``.
        backend_args: How to reach ``out_dir`` where it is no folder of this machine: arguments of MMEngine's backend.
        published_keys: After the training write the last and the best checkpoints once more with these parts only
            (``'meta'``, ``'state_dict'``), under a name with a hash; None: do not.
        save_begin: First iteration (epoch) to save at; ``interval`` counts from there.
        background: Write in a thread while training goes on; costs a copy of the state in memory.

    Raises:
        UserError: If ``rule``, ``save_best`` or ``filename_tmpl`` is none of these, or a metric has no rule and a name
            that tells none.
    """

    # Last: it saves what the other hooks did in this iteration.
    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_best: str | Sequence[str] | None = None,
        rule: str | Sequence[str | None] | None = None,
        greater_keys: str | Sequence[str] | None = None,
        less_keys: str | Sequence[str] | None = None,
        file_client_args: Mapping[str, Any] | None = None,
        filename_tmpl: str | None = None,
        backend_args: Mapping[str, Any] | None = None,
        published_keys: str | Sequence[str] | None = None,
        save_begin: int = 0,
        *,
        background: bool = False,
    ) -> None:
        if save_begin < 0:
            raise UserError(f'CheckpointHook: save_begin must not be negative, got {save_begin}.')
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_begin = save_begin
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_optimizer = save_optimizer
        self.save_param_scheduler = save_param_scheduler
        self.published_keys = as_list(published_keys)
        self.store = checkpoint_io.open_store(str(out_dir or '.'), backend_args, file_client_args)
        self._root = out_dir if self.store is None else None
        self._address = str(out_dir or '.')
        self.backend_args, self.file_client_args = backend_args, file_client_args
        self.out_dir = out_dir
        self.filename_tmpl = filename_tmpl or f'{self.unit}_{{}}.pth'
        if self.filename_tmpl.count('{}') != 1:
            key = spelled('default_hooks.checkpoint.filename_tmpl')
            raise UserError(f"{key} needs one '{{}}' for the number, got {filename_tmpl!r}.")
        self.greater_keys = (greater_keys,) if isinstance(greater_keys, str) else greater_keys
        self.less_keys = (less_keys,) if isinstance(less_keys, str) else less_keys
        self._key_words = (as_list(greater_keys), as_list(less_keys))
        self._rules = parse_rules(save_best, rule, *self._key_words)
        self._auto = 'auto' in self._rules
        self._saved: tuple[int, Path] | None = None
        self._writer = checkpoint_io.BackgroundWriter() if background else None
        self._training = False
        self._left_out: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """``'epoch'`` or ``'iter'``."""
        return 'epoch' if self.by_epoch else 'iter'

    def folder(self, runner: Runner) -> Path:
        """Return where the checkpoints of a run go."""
        work_dir = Path(runner.work_dir)
        return work_dir if self._root is None else Path(self._root, work_dir.name)

    # ---------------------------------------------------------------- what MMEngine's hook has, for other hooks
    @property
    def key_indicators(self) -> list[str]:
        """The metrics of which the best is saved; ``'auto'`` until there are metrics."""
        return list(self._rules)

    @property
    def rules(self) -> list[str | None]:
        """Whether more or less of each is better; None only for ``'auto'``."""
        return list(self._rules.values())

    @cached_property
    def file_client(self) -> FileClient:
        """MMEngine's older access to ``out_dir``, made when it is asked for, since it warns of its age."""
        args = self.file_client_args
        return FileClient.infer_client(None if args is None else dict(args), self._address)

    @cached_property
    def file_backend(self) -> Any:
        """MMEngine's access to ``out_dir``. The hook itself writes by :mod:`mmopt.engine.checkpoint_io`."""
        if self.file_client_args is not None:
            return self.file_client
        args = self.backend_args
        return get_file_backend(self._address, backend_args=None if args is None else dict(args))

    def _tell_places(self, runner: Runner) -> None:
        """Set ``out_dir`` and the paths of the best so far, as MMEngine's hook does before a training."""
        if self.store is None:
            self.out_dir = str(self.folder(runner))
        else:
            self.out_dir = self.store.backend.join_path(self.store.folder, Path(runner.work_dir).name)
        hub = runner.message_hub
        if len(self._rules) == 1:
            self.best_ckpt_path = hub.get_info('best_ckpt')
        elif self._rules:
            self.best_ckpt_path_dict = {name: hub.get_info(f'best_ckpt_{name}') for name in self._rules}

    # ---------------------------------------------------------------- points
    def before_train(self, runner: Runner) -> None:
        self._training = True
        self._tell_places(runner)
        folder = self.folder(runner)
        best = dict(runner.message_hub.get_info('best_checkpoints') or {})
        lost = [metric for metric, entry in best.items() if not Path(folder, entry['file']).is_file()]
        # Rank 0 decides: other machines may not see its folder, and all ranks must save or not save alike.
        decision = [lost]
        broadcast_object_list(decision)
        for metric in decision[0]:
            entry = best.pop(metric)
            runner.logger.warning(
                f'The best checkpoint so far, {entry["file"]} ({metric} {entry["score"]:.4f}), is not in {folder}: '
                'the best of this folder starts anew.'
            )
        runner.message_hub.update_info('best_checkpoints', best)
        if is_main_process():
            for path in checkpoint_io.remove_leftovers(folder):
                runner.logger.info(f'Removed {path}, which a stopped run left half written.')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping | None = None,
    ) -> None:
        if self._writer is not None:
            self._writer.check()
        if self.by_epoch:
            return
        is_due = self.every_n_train_iters(runner, self.interval, self.save_begin)
        if is_due or (self.save_last and self.is_last_train_iter(runner)):
            self._save(runner, runner.iter + 1, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if not self.by_epoch:
            return
        is_due = self.every_n_epochs(runner, self.interval, self.save_begin)
        if is_due or (self.save_last and self.is_last_train_epoch(runner)):
            self._save(runner, runner.epoch + 1, runner.iter)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, Any] | None = None) -> None:
        # An evaluation alone (tools/test.py) trains nothing, so it has nothing to save.
        if not self._rules or not self._training:
            return
        if not metrics:
            runner.logger.warning('The evaluation gave no metrics: no best checkpoint this time.')
            return
        if self._auto:
            self._resolve_auto(metrics)
        for name, rule in self._rules.items():
            assert rule is not None, 'only auto has none, and it is resolved'
            self._compare(runner, name, rule, find_score(metrics, name))

    def after_train(self, runner: Runner) -> None:
        self.join()
        if self.published_keys is not None and is_main_process():
            self._publish(runner, self.published_keys)

    def join(self) -> None:
        """Wait until what is being written in the background is there."""
        if self._writer is not None:
            self._writer.join()

    # ---------------------------------------------------------------- saving
    def _save(self, runner: Runner, step: int, iters_done: int) -> None:
        path = Path(self.folder(runner), self.filename_tmpl.format(step))
        runner.logger.info(f'Saving checkpoint at {step} {self.unit}s')
        runner.message_hub.update_info('last_ckpt', str(path))
        self._left_out = (() if self.save_optimizer else ('optimizer', 'partial_grads')) + (
            () if self.save_param_scheduler else ('param_schedulers',)
        )
        extra = runner.message_hub.get_info(_EXTRA)
        runner.message_hub.update_info(_EXTRA, None)
        self._write(runner, path, partial(self._after_save, Path(runner.work_dir), path, step, extra))
        self._left_out = ()
        self._saved = (iters_done, path)

    def save_now(self, runner: Runner) -> Path:
        """Save where the run is, whatever the interval, and wait until the file is complete. All ranks must call it.

        Once the next checkpoint of the interval is there, and ``max_keep_ckpts`` limits their number, this one goes.

        Returns:
            The checkpoint, ``iter_N.pth``; the one of the interval if it falls on this iteration.
        """
        # Loops of other libraries count what is finished in `iter` alone.
        iters_done = getattr(runner.train_loop, 'iters_done', runner.iter)
        if self._saved is not None and self._saved[0] == iters_done and self.save_optimizer:
            path = self._saved[1]
        else:
            template = 'iter_{}.pth' if self.by_epoch else self.filename_tmpl
            path = Path(self.folder(runner), template.format(iters_done))
            runner.message_hub.update_info(_EXTRA, path.name)
            self._write(runner, path, partial(self._point_to, Path(runner.work_dir), path))
            self._saved = (iters_done, path)
        self.join()
        barrier()  # a launcher may end all ranks as soon as one has left, so none may leave before the file is there
        return path

    def _point_to(self, work_dir: Path, path: Path) -> None:
        checkpoint_io.write_pointer(work_dir, path.name if self._root is None else str(path.absolute()))

    def _after_save(self, work_dir: Path, path: Path, step: int, extra: str | None) -> None:
        self._point_to(work_dir, path)
        self._prune(work_dir, path.parent, step)
        if extra is not None and extra != path.name and self.max_keep_ckpts >= 1:
            self._remove(work_dir, path.with_name(extra))
        self._copy(work_dir, path)

    def _copy(self, work_dir: Path, *paths: Path) -> None:
        if self.store is not None:
            for path in paths:
                self.store.put(work_dir.name, path)

    def _remove(self, work_dir: Path, path: Path) -> None:
        path.unlink(missing_ok=True)
        if self.store is not None:
            self.store.remove(work_dir.name, path.name)

    def _write(self, runner: Runner, path: Path, then: Callable[[], None]) -> None:
        """Save on all ranks (they gather their random states), and let rank 0 do what follows the writing."""
        with runner.time_split.measure('checkpoints'):
            if (refuse_bad_weights := getattr(runner.train_loop, 'refuse_bad_weights', None)) is not None:
                refuse_bad_weights()
            if self._writer is None:
                runner.save_checkpoint(path)
                if is_main_process():
                    then()
                return
            with self._writer.collect():
                runner.save_checkpoint(path)
            if is_main_process():
                self._writer.start(then)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        for key in self._left_out:
            checkpoint.pop(key, None)

    def _prune(self, work_dir: Path, folder: Path, step: int) -> None:
        """Delete what ``max_keep_ckpts`` makes redundant: mmcv's steps, back to the first that is not there."""
        if self.max_keep_ckpts < 1 or self.interval < 1:
            return
        for old in range(step - self.max_keep_ckpts * self.interval, 0, -self.interval):
            path = Path(folder, self.filename_tmpl.format(old))
            if not path.is_file():
                break
            self._remove(work_dir, path)

    def _publish(self, runner: Runner, keys: Sequence[str]) -> None:
        folder = self.folder(runner)
        best = runner.message_hub.get_info('best_checkpoints') or {}
        paths = [Path(folder, entry['file']) for entry in best.values()]
        if self._saved is not None and self.save_last:
            paths.insert(0, self._saved[1])
        for path in paths:
            published = checkpoint_io.publish(path, keys)
            self._copy(Path(runner.work_dir), published)
            runner.logger.info(f'Published {path.name} as {published.name}, with {", ".join(keys)}.')

    # ---------------------------------------------------------------- best
    def _resolve_auto(self, metrics: Mapping[str, Any]) -> None:
        first = next(iter(metrics)).rsplit('/', 1)[-1]
        rule = self._rules['auto']
        self._rules = {name: rule for name, rule in self._rules.items() if name != 'auto'}
        self._rules.setdefault(first, rule or infer_rule(first, *self._key_words))
        self._auto = False

    def _compare(self, runner: Runner, name: str, rule: str, score: float) -> None:
        best = dict(runner.message_hub.get_info('best_checkpoints') or {})
        if not math.isfinite(score):
            runner.logger.warning(f'{name} is {score}: it cannot be the best.')
            return
        previous = best.get(name)
        # "is None" and not truth: a best score of 0.0 counts.
        if previous is not None and not (score > previous['score'] if rule == 'greater' else score < previous['score']):
            return
        # In the unit of the evaluations, which is the loop's, also where checkpoints are counted otherwise.
        unit = getattr(runner.train_loop, 'unit', self.unit)
        step = runner.epoch if unit == 'epoch' else runner.iter
        label = name.replace('/', '_')
        path = Path(self.folder(runner), f'best_{label}_{unit}_{step}.pth')
        best[name] = dict(score=score, file=path.name)
        runner.message_hub.update_info('best_checkpoints', best)
        # Where MMEngine has them, for hooks of other libraries.
        suffix = '' if len(self._rules) == 1 else f'_{name}'
        runner.message_hub.update_info_dict({f'best_score{suffix}': score, f'best_ckpt{suffix}': str(path)})
        self._tell_places(runner)
        self._write(runner, path, partial(self._switch, Path(runner.work_dir), path, label, runner.iter, previous))
        runner.logger.info(f'Best {name} so far: {score:.4f} at {step} {unit}s, saved as {path.name}.')

    def _switch(self, work_dir: Path, path: Path, label: str, iters_done: int, previous: Mapping | None) -> None:
        link = path.with_name(f'best_{label}.pth')
        checkpoint_io.switch_link(link, path)
        self._copy(work_dir, path, link)
        saved = self._saved
        if saved is not None and saved[0] == iters_done and saved[1].is_file() and self.save_optimizer:
            # The same state, saved before the evaluation, does not know its score: a run resumed from it would
            # forget the best. One more name for the new file costs nothing.
            checkpoint_io.switch_link(saved[1], path)
        if previous is not None and previous['file'] != path.name:
            self._remove(work_dir, path.with_name(previous['file']))
