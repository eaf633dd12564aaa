"""A training from a lowered config, with what stands before and after it: what ``tools/train.py`` calls."""

import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmopt.apis.cli.outputs import check_folder
from mmopt.apis.cli.resume_command import resume_command
from mmopt.apis.logs.curves import choose_keys, plot_curves
from mmopt.apis.logs.read import RunLog, read_run
from mmopt.apis.logs.time import Bottleneck, plot_time, read_time
from mmopt.apis.memory.estimate import estimate_memory
from mmopt.apis.pictures.save import NUM_PICTURES
from mmopt.apis.report.changes import changes_of
from mmopt.apis.report.page import write_report
from mmopt.apis.run.check_parts import check_parts
from mmopt.apis.run.checks import check_hooks, check_metric_names, check_metrics
from mmopt.apis.run.evaluate import scalars, table_notes
from mmopt.apis.run.expect import ExpectedMetrics, check_expectations, parse_expectations
from mmopt.apis.run.facts import Facts, Start, collect_facts
from mmopt.apis.run.preflight import Preflight, describe_run
from mmopt.apis.run.progress import ProjectedEnd
from mmopt.apis.run.remedies import with_estimates
from mmopt.apis.run.run_pictures import RunPictures
from mmopt.apis.run.start import build_runner, check_hash, start_of
from mmopt.apis.run.summary import Summary, median_iteration
from mmopt.apis.run.work_dir import claimed_work_dir
from mmopt.config.evaluation import main_metric
from mmopt.config.spelling import spelled
from mmopt.engine import IterBasedRunner, checkpoint_io
from mmopt.engine.guards.signals import TrainingStopped
from mmopt.engine.micro_batch import DoesNotFitError
from mmopt.utils.distributed import rank_to_be
from mmopt.utils.errors import UserError
from mmopt.utils.machine import describe_machine
from mmopt.utils.optional import run_optional
from mmopt.utils.seeding import prepare_determinism
from mmopt.utils.shipped import tool_command
from mmopt.utils.user_code import describe

__all__ = ['preflight', 'train']


def preflight(cfg: Config, start: Start | None = None) -> Preflight:
    """Build the data sets, look at the machine, and describe the run.

    Args:
        cfg: A lowered config.
        start: From :func:`start_of`.

    Returns:
        The block to print.

    Raises:
        UserError: If the config trains nothing or its data is missing.
    """
    return describe_run(cfg, _look(cfg, start, parse_expectations(cfg.get('expect'))))


def _look(cfg: Config, start: Start | None, expectations: list[dict]) -> Facts:
    """Build the data sets and look at the machine; refuse what need not wait for the training to fail."""
    if not cfg.get('train_dataloader') or not cfg.get('train_cfg'):
        raise UserError(
            f'{cfg.filename}: the config has no training data ({spelled("train_dataloader.dataset")}) or no optimizer '
            f'({spelled("optim_wrapper")}), so there is nothing to train.'
        )
    check_folder(cfg.work_dir, '--work-dir')
    if expectations and cfg.get('val_cfg') is None:
        raise UserError(
            f'{cfg.filename}: expect needs an evaluation: add {spelled("val_dataloader.dataset")} and '
            f'{spelled("val_evaluator")}, or drop expect.'
        )
    check_hash(cfg)
    check_hooks(cfg)
    check_parts(cfg)
    prepare_determinism(cfg.get('randomness'))  # looking at a GPU starts CUDA
    facts = collect_facts(cfg, start)
    dataset = facts.datasets.get('val_dataloader')
    if cfg.get('val_cfg') is not None:
        check_metrics(cfg.get('val_evaluator'), dataset)
    check_metric_names(cfg, expectations, dataset)
    return facts


def train(cfg: Config, *, num_pictures: int = NUM_PICTURES, overwrite: bool = False) -> Summary:
    """Print the preflight block, train, and print the summary.

    Args:
        cfg: A lowered config.
        num_pictures: Pictures of validation samples to write at the end.
        overwrite: Whether the work dir's files of another run may be moved away; see
            :func:`mmopt.apis.run.work_dir.claimed_work_dir`.

    Returns:
        The summary; its ``exit_code`` tells whether the config's expectations hold.

    Raises:
        UserError: If the config expects a metric and never evaluates, or the work dir is another run's.
    """
    is_first = rank_to_be(cfg.get('launcher', 'none')) == 0
    with claimed_work_dir(cfg, overwrite=overwrite) if is_first else nullcontext():
        return _train(cfg, num_pictures)


def _train(cfg: Config, num_pictures: int) -> Summary:
    expectations = parse_expectations(cfg.get('expect'))
    # Read now: the run may replace the very checkpoint that it goes on from.
    start = start_of(cfg)
    facts = _look(cfg, start, expectations)
    if rank_to_be(cfg.get('launcher', 'none')) == 0:
        print(f'{describe_run(cfg, facts)}\n', flush=True)
    started = time.perf_counter()
    runner = build_runner(cfg)
    if isinstance(runner, IterBasedRunner):
        runner.use_datasets(facts.datasets)
    reached = cache(
        lambda: _save_reached(cfg, runner, start.iter if start else 0, wall_s=time.perf_counter() - started)
    )
    pictures = RunPictures(num_pictures, before=reached)
    runner.register_hook(pictures)
    runner.register_hook(ProjectedEnd())
    runner.register_hook(ExpectedMetrics(expectations))
    with warnings.catch_warnings():
        # The preflight block has said it, in one line and with the remedy.
        warnings.filterwarnings('ignore', message='This DataLoader will create')
        try:
            runner.train()
        except (Exception, TrainingStopped) as error:
            tell = runner.logger.warning
            if _is_trained(runner):  # what ended it came after the last iteration: a hook, the last evaluation
                run_optional('summary', tell, _finish, cfg, runner, reached, [], pictures.folder)
            elif _has_trained(runner, start):
                with suppress(KeyboardInterrupt):  # whoever waits no longer: everything else is saved
                    run_optional('report', tell, _finish_early, cfg, runner, reached, error)
            if isinstance(error, DoesNotFitError) and is_main_process():
                # Every process has failed; one of them says what would help.
                raise with_estimates(error, cfg, estimate_memory) from None
            raise
    return _finish(cfg, runner, reached, expectations, pictures.folder)


def _is_trained(runner: Runner) -> bool:
    loop = runner._train_loop  # a dict until it is first asked for
    iters = getattr(loop, 'iters_done', 0)
    return iters > 0 and (iters >= loop.max_iters or loop.stop_training)


def _has_trained(runner: Runner, start: Start | None) -> bool:
    """Tell whether this session did iterations of which something is logged."""
    iters = getattr(runner._train_loop, 'iters_done', 0)
    return iters > (start.iter if start else 0) and _has_log(Path(runner.work_dir))


def _save_reached(cfg: Config, runner: Runner, start_iter: int, wall_s: float) -> tuple[Summary, RunLog]:
    """Save what the run reached, before anything is drawn or computed, which may fail after a whole training."""
    work_dir, tell = Path(cfg.work_dir), runner.logger.warning
    # Loops of other libraries keep no result.
    metrics = scalars(getattr(runner.val_loop, 'metrics', {}))
    main = main_metric(cfg, metrics)
    log = run_optional('curves', tell, _read_log, work_dir) or RunLog(work_dir.name)
    summary = Summary(
        metrics=metrics,
        best=run_optional('best score', tell, log.best, main, _rule(cfg)) if main else None,
        main_metric=main,
        iters=runner.iter - start_iter,
        seconds_per_iter=run_optional('time per iteration', tell, _median_of_this_session, runner, start_iter),
        wall_s=wall_s,
        peak_memory=run_optional('peak memory', tell, _peak_memory, runner.message_hub.log_scalars),
        places=_checkpoint_and_log(work_dir),
        config=str(cfg.filename or ''),
        resume_command=resume_command(sys.argv, os.environ),
        changes=run_optional('changes of the config', tell, changes_of, cfg) or {},
        environment=run_optional('environment', tell, describe_machine) or {},
        notes=table_notes(cfg.get('val_evaluator')),
    )
    log.main = main or ''
    if is_main_process():
        summary.save(work_dir / 'summary.json')
    return summary, log


def _rule(cfg: Config) -> str | None:
    return ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('rule')


def _finish(
    cfg: Config,
    runner: Runner,
    reached: Callable[[], tuple[Summary, RunLog]],
    expectations: list[dict],
    pictures: Path | None,
) -> Summary:
    """Add to what the run reached what is drawn and computed from it."""
    work_dir, tell = Path(cfg.work_dir), runner.logger.warning
    summary, log = reached()
    spent = run_optional('time split', tell, read_time, work_dir)
    places = dict(summary.places)
    if is_main_process():
        places |= run_optional('curves', tell, _plot_curves, work_dir, log) or {}
        places |= run_optional('time split', tell, _plot_time, work_dir, spent) or {}
    if pictures is not None:
        places['pictures'] = str(pictures)
    results = []
    if expectations and is_main_process():  # only its log has all evaluations
        best = {
            key: (log.best(key, _rule(cfg) if key == summary.main_metric else None) or (0, value))[1]
            for key, value in summary.metrics.items()
        }
        results = check_expectations(expectations, best, runner.train_dataloader.dataset, runner.val_dataloader.dataset)
    summary = replace(
        summary,
        places=places,
        next_command=_next_command(cfg, work_dir, places, draws=pictures is not None),
        expectations=results,
        time={} if spent is None else {'time': spent.split, 'change first': spent.verdict},
    )
    if is_main_process():
        summary.save(work_dir / 'summary.json')
        report = run_optional('report', tell, write_report, [work_dir], work_dir / 'report.html')
        summary = replace(summary, places=dict(summary.places) | ({'report': str(report)} if report else {}))
        summary.save(work_dir / 'summary.json')
        run_optional('printed summary', tell, lambda: print(f'\n{summary}', flush=True))
    return summary


def _finish_early(
    cfg: Config, runner: Runner, reached: Callable[[], tuple[Summary, RunLog]], error: BaseException
) -> None:
    """Write what a run that is stopped reached, and its report; its loggers are told that nothing more comes."""
    run_optional('loggers', runner.logger.warning, runner.visualizer.close)
    summary, _ = reached()
    if is_main_process():
        work_dir = Path(cfg.work_dir)
        stopped = str(error) if isinstance(error, TrainingStopped) else describe(error)
        replace(summary, stopped=stopped).save(work_dir / 'summary.json')
        write_report([work_dir], work_dir / 'report.html')


def _has_log(work_dir: Path) -> bool:
    return any(work_dir.glob('*/vis_data/scalars.json'))


def _read_log(work_dir: Path) -> RunLog | None:
    return read_run(work_dir) if _has_log(work_dir) else None


def _median_of_this_session(runner: Runner, start_iter: int) -> float | None:
    """Return the seconds of an iteration; the message hub of a resumed run begins with those before it."""
    num_iters = runner.iter - start_iter
    if 'train/time' not in runner.message_hub.log_scalars or num_iters < 1:
        return None
    values, _ = runner.message_hub.get_scalar('train/time').data
    return median_iteration([float(value) for value in values[-num_iters:]])


def _peak_memory(scalars: Mapping[str, Any]) -> tuple[str, float] | None:
    for key, kind in (('mem_reserv_gib', 'GPU, reserved'), ('mem_host_gib', 'process, resident')):
        if f'train/{key}' in scalars:
            values, _ = scalars[f'train/{key}'].data
            return kind, float(max(values))
    return None


def _checkpoint_and_log(work_dir: Path) -> dict[str, str]:
    places = {}
    best = sorted(work_dir.glob('best_*.pth'), key=lambda path: len(path.name))
    last = checkpoint_io.find_latest(work_dir)
    checkpoint = best[0] if best else last
    if checkpoint is not None:
        places['checkpoint'] = str(checkpoint)
    if (work_dir / 'latest.log').exists():
        places['log'] = str(work_dir / 'latest.log')
    if any(work_dir.glob('*/vis_data/events.out.tfevents.*')):
        places['tensorboard'] = shlex.join(['tensorboard', '--logdir', str(work_dir)])
    return places


def _plot_curves(work_dir: Path, log: RunLog) -> dict[str, str]:
    keys = choose_keys([log])
    return dict(curves=str(plot_curves([log], keys, work_dir / 'curves.png', title=log.name))) if keys else {}


def _plot_time(work_dir: Path, spent: Bottleneck | None) -> dict[str, str]:
    return {} if spent is None else {'time split': str(plot_time([spent], work_dir / 'time_split.png'))}


def _next_command(cfg: Config, work_dir: Path, places: Mapping[str, str], *, draws: bool) -> str:
    """Return the command that tests what was trained, with pictures if the data set gave some just now."""
    if 'checkpoint' not in places or cfg.get('test_cfg') is None:
        return ''
    # The runner's copy of the config has all options and flags of this run in it: data root, precision, ...
    copy = work_dir / Path(cfg.filename).name
    config = copy if copy.is_file() else cfg.filename
    pictures = ('--show-dir', work_dir / 'test_pictures') if draws else ()
    return tool_command('test', config, places['checkpoint'], *pictures)
