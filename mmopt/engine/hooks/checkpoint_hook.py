"""When to save a checkpoint, which to delete, and which is the best: mmcv 1.7.2's rules and names."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.config.spelling import spelled
from mmopt.engine import checkpoint_io
from mmopt.registry import HOOKS
from mmopt.utils.errors import UserError
from mmopt.utils.score_rule import score_rule

__all__ = ['CheckpointHook', 'infer_rule']

_EXTRA = 'extra_checkpoint'  # what a stopped run saved off its interval
_FOR_RESUMING = ('optimizer', 'param_schedulers', 'partial_grads')


def infer_rule(metric: str) -> str:
    """Tell whether more or less of a metric is better, by mmcv's key words.

    Args:
        metric: Name of the metric.

    Returns:
        ``'greater'`` or ``'less'``.

    Raises:
        UserError: If no key word is in the name.
    """
    rule = score_rule(metric)
    if rule is not None:
        return rule
    raise UserError(
        f'{spelled("default_hooks.checkpoint.save_best")}={metric!r}: cannot tell whether more or less is better; say '
        f"{spelled('default_hooks.checkpoint.rule')}='greater' or 'less'."
    )


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Save ``iter_N.pth`` or ``epoch_N.pth``, ``last_checkpoint`` and the best checkpoints, in the work dir.

    A best checkpoint is ``best_{metric}_{iter|epoch}_{N}.pth`` as in mmcv; ``best_{metric}.pth`` is a second name of
    the same file. The scores travel in the message hub (``best_checkpoints``), so that they survive a resume.

    Args:
        interval: Save every so many iterations (epochs); below 1: only the last.
        by_epoch: Whether ``interval`` and file names count epochs.
        max_keep_ckpts: Checkpoints to keep, of those that ``interval`` made; below 1: all. As in mmcv, one more that
            the end of the run made off the interval is not counted.
        save_last: Save at the end of training whatever ``interval`` says.
        save_optimizer: Whether the checkpoints of ``interval`` can be resumed; the best ones always can.
        out_dir: Save in ``out_dir/<name of the work dir>`` instead of the work dir; ``last_checkpoint`` stays there.
        filename_tmpl: File name with ``{}`` for the number; None: ``iter_{}.pth`` or ``epoch_{}.pth``.
        save_best: Metric name, several, or ``'auto'`` (the first metric of the first evaluation); None: no best.
        rule: ``'greater'`` or ``'less'``, for all or one per metric; None: by key words in the name.
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
        *,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        filename_tmpl: str | None = None,
        save_best: str | Sequence[str] | None = None,
        rule: str | Sequence[str | None] | None = None,
        background: bool = False,
    ) -> None:
        self.interval = interval
        self.by_epoch = by_epoch
        self.max_keep_ckpts = max_keep_ckpts
        self.save_last = save_last
        self.save_optimizer = save_optimizer
        self.out_dir = out_dir
        self.filename_tmpl = filename_tmpl or f'{self.unit}_{{}}.pth'
        if self.filename_tmpl.count('{}') != 1:
            key = spelled('default_hooks.checkpoint.filename_tmpl')
            raise UserError(f"{key} needs one '{{}}' for the number, got {filename_tmpl!r}.")
        self.rules = _parse_rules(save_best, rule)
        self._auto = 'auto' in self.rules
        self._saved: tuple[int, Path] | None = None
        self._writer = checkpoint_io.BackgroundWriter() if background else None
        self._training = False
        self._weights_only = False

    @property
    def unit(self) -> str:
        """``'epoch'`` or ``'iter'``."""
        return 'epoch' if self.by_epoch else 'iter'

    def folder(self, runner: Runner) -> Path:
        """Return where the checkpoints of a run go."""
        work_dir = Path(runner.work_dir)
        return work_dir if self.out_dir is None else Path(self.out_dir, work_dir.name)

    # ---------------------------------------------------------------- points
    def before_train(self, runner: Runner) -> None:
        self._training = True
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
        if self.every_n_train_iters(runner, self.interval) or (self.save_last and self.is_last_train_iter(runner)):
            self._save(runner, runner.iter + 1, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if not self.by_epoch:
            return
        if self.every_n_epochs(runner, self.interval) or (self.save_last and self.is_last_train_epoch(runner)):
            self._save(runner, runner.epoch + 1, runner.iter)

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, Any] | None = None) -> None:
        # An evaluation alone (tools/test.py) trains nothing, so it has nothing to save.
        if not self.rules or not self._training:
            return
        if not metrics:
            runner.logger.warning('The evaluation gave no metrics: no best checkpoint this time.')
            return
        if self._auto:
            self._resolve_auto(metrics)
        for name, rule in self.rules.items():
            assert rule is not None, 'only auto has none, and it is resolved'
            self._compare(runner, name, rule, _find_score(metrics, name))

    def after_train(self, runner: Runner) -> None:
        self.join()

    def join(self) -> None:
        """Wait until what is being written in the background is there."""
        if self._writer is not None:
            self._writer.join()

    # ---------------------------------------------------------------- saving
    def _save(self, runner: Runner, step: int, iters_done: int) -> None:
        path = Path(self.folder(runner), self.filename_tmpl.format(step))
        runner.logger.info(f'Saving checkpoint at {step} {self.unit}s')
        runner.message_hub.update_info('last_ckpt', path.name)
        self._weights_only = not self.save_optimizer
        extra = runner.message_hub.get_info(_EXTRA)
        runner.message_hub.update_info(_EXTRA, None)
        self._write(runner, path, partial(self._after_save, Path(runner.work_dir), path, step, extra))
        self._weights_only = False
        self._saved = (iters_done, path)

    def save_now(self, runner: Runner) -> Path:
        """Save where the run is, whatever the interval, and wait until the file is complete. All ranks must call it.

        Once the next checkpoint of the interval is there, and ``max_keep_ckpts`` limits their number, this one goes.

        Returns:
            The checkpoint, ``iter_N.pth``; the one of the interval if it falls on this iteration.
        """
        iters_done = runner.train_loop.iters_done
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
        checkpoint_io.write_pointer(work_dir, path.name if self.out_dir is None else str(path.absolute()))

    def _after_save(self, work_dir: Path, path: Path, step: int, extra: str | None) -> None:
        self._point_to(work_dir, path)
        self._prune(path.parent, step)
        if extra is not None and extra != path.name and self.max_keep_ckpts >= 1:
            path.with_name(extra).unlink(missing_ok=True)

    def _write(self, runner: Runner, path: Path, then: Callable[[], None]) -> None:
        """Save on all ranks (they gather their random states), and let rank 0 do what follows the writing."""
        with runner.time_split.measure('checkpoints'):
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
        if self._weights_only:
            for key in _FOR_RESUMING:
                checkpoint.pop(key, None)

    def _prune(self, folder: Path, step: int) -> None:
        """Delete what ``max_keep_ckpts`` makes redundant: mmcv's steps, back to the first that is not there."""
        if self.max_keep_ckpts < 1 or self.interval < 1:
            return
        for old in range(step - self.max_keep_ckpts * self.interval, 0, -self.interval):
            path = Path(folder, self.filename_tmpl.format(old))
            if not path.is_file():
                break
            path.unlink()

    # ---------------------------------------------------------------- best
    def _resolve_auto(self, metrics: Mapping[str, Any]) -> None:
        first = next(iter(metrics)).rsplit('/', 1)[-1]
        rule = self.rules['auto']
        self.rules = {name: rule for name, rule in self.rules.items() if name != 'auto'}
        self.rules.setdefault(first, rule or infer_rule(first))
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
        self._write(runner, path, partial(self._switch, path, label, runner.iter, previous))
        runner.logger.info(f'Best {name} so far: {score:.4f} at {step} {unit}s, saved as {path.name}.')

    def _switch(self, path: Path, label: str, iters_done: int, previous: Mapping | None) -> None:
        checkpoint_io.switch_link(path.with_name(f'best_{label}.pth'), path)
        saved = self._saved
        if saved is not None and saved[0] == iters_done and saved[1].is_file() and self.save_optimizer:
            # The same state, saved before the evaluation, does not know its score: a run resumed from it would
            # forget the best. One more name for the new file costs nothing.
            checkpoint_io.switch_link(saved[1], path)
        if previous is not None and previous['file'] != path.name:
            path.with_name(previous['file']).unlink(missing_ok=True)


def _parse_rules(
    save_best: str | Sequence[str] | None, rule: str | Sequence[str | None] | None
) -> dict[str, str | None]:
    """Return the rule of every metric; None only for ``'auto'``, whose metric is not known yet."""
    if save_best is None:
        return {}
    names = [save_best] if isinstance(save_best, str) else save_best
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise UserError(
            f"{spelled('default_hooks.checkpoint.save_best')} must be a metric's name, a list of them, 'auto' or "
            f'None, got {save_best!r}.'
        )
    rules = [rule] * len(names) if rule is None or isinstance(rule, str) else list(rule)
    if len(rules) != len(names):
        raise UserError(
            f'{spelled("default_hooks.checkpoint.rule")} has {len(rules)} entries for the {len(names)} metrics of '
            'save_best.'
        )
    for item in rules:
        if item not in ('greater', 'less', None):
            raise UserError(f"{spelled('default_hooks.checkpoint.rule')} must be 'greater' or 'less', got {item!r}.")
    return {
        name: item if item is not None or name == 'auto' else infer_rule(name)
        for name, item in zip(names, rules, strict=True)
    }


def _find_score(metrics: Mapping[str, Any], name: str) -> float:
    """Look a metric up by its name, or by the part after MMEngine's prefix (``coco/bbox_mAP``)."""
    matches = [key for key in metrics if key == name] or [key for key in metrics if key.rsplit('/', 1)[-1] == name]
    if len(matches) != 1:
        raise UserError(
            f'{spelled("default_hooks.checkpoint.save_best")}={name!r} is {"ambiguous" if matches else "not"} among '
            'the metrics of this '
            f'evaluation: {", ".join(matches or metrics)}.'
        )
    try:
        return float(metrics[matches[0]])
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{spelled("default_hooks.checkpoint.save_best")}={name!r}: its value is no single number but '
            f'{metrics[matches[0]]!r}.'
        ) from error
