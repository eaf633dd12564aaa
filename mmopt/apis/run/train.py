"""A training from a lowered config, with what stands before and after it: what ``tools/train.py`` calls."""

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmopt.apis.logs.curves import choose_keys, plot_curves
from mmopt.apis.logs.read import RunLog, read_run
from mmopt.apis.logs.time import Bottleneck, plot_time, read_time
from mmopt.apis.memory.estimate import estimate_memory
from mmopt.apis.pictures.save import NUM_PICTURES, can_draw, save_pictures
from mmopt.apis.run.evaluate import scalars
from mmopt.apis.run.expect import check_expectations, parse_expectations
from mmopt.apis.run.facts import Facts, Start, collect_facts
from mmopt.apis.run.preflight import Preflight, describe_run
from mmopt.apis.run.progress import ProjectedEnd
from mmopt.apis.run.remedies import with_estimates
from mmopt.apis.run.start import build_runner, start_of
from mmopt.apis.run.summary import Summary, median_iteration
from mmopt.config.evaluation import main_metric
from mmopt.config.spelling import spelled
from mmopt.engine import IterBasedRunner, checkpoint_io
from mmopt.engine.micro_batch import DoesNotFitError
from mmopt.utils.distributed import rank_to_be
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import prepare_determinism

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
    return describe_run(cfg, _look(cfg, start))


def _look(cfg: Config, start: Start | None) -> Facts:
    if not cfg.get('train_dataloader') or not cfg.get('train_cfg'):
        raise UserError(
            f'{cfg.filename}: the config has no training data ({spelled("train_dataloader.dataset")}), so there is '
            'nothing to train.'
        )
    prepare_determinism(cfg.get('randomness'))  # looking at a GPU starts CUDA
    return collect_facts(cfg, start)


def train(cfg: Config, *, num_pictures: int = NUM_PICTURES) -> Summary:
    """Print the preflight block, train, and print the summary.

    Args:
        cfg: A lowered config.
        num_pictures: Pictures of validation samples to write at the end.

    Returns:
        The summary; its ``exit_code`` tells whether the config's expectations hold.

    Raises:
        UserError: If the config expects a metric and never evaluates.
    """
    expectations = parse_expectations(cfg.get('expect'))
    if expectations and cfg.get('val_cfg') is None:
        raise UserError(
            f'{cfg.filename}: expect needs an evaluation: add {spelled("val_dataloader.dataset")} and '
            f'{spelled("val_evaluator")}, or drop expect.'
        )
    # Read now: the run may replace the very checkpoint that it goes on from.
    start = start_of(cfg)
    facts = _look(cfg, start)
    if rank_to_be(cfg.get('launcher', 'none')) == 0:
        print(f'{describe_run(cfg, facts)}\n', flush=True)
    started = time.perf_counter()
    runner = build_runner(cfg)
    if isinstance(runner, IterBasedRunner):
        runner.use_datasets(facts.datasets)
    runner.register_hook(ProjectedEnd())
    with warnings.catch_warnings():
        # The preflight block has said it, in one line and with the remedy.
        warnings.filterwarnings('ignore', message='This DataLoader will create')
        try:
            runner.train()
        except DoesNotFitError as error:
            # Every process has failed; one of them says what would help.
            raise (with_estimates(error, cfg, estimate_memory) if is_main_process() else error) from None
    return _finish(cfg, runner, start.iter if start else 0, time.perf_counter() - started, expectations, num_pictures)


def _finish(
    cfg: Config, runner: Runner, start_iter: int, wall_s: float, expectations: list[dict], num_pictures: int
) -> Summary:
    work_dir = Path(cfg.work_dir)
    log = read_run(work_dir) if any(work_dir.glob('*/vis_data/scalars.json')) else RunLog(work_dir.name)
    # Loops of other libraries keep no result.
    metrics = scalars(getattr(runner.val_loop, 'metrics', {}))
    main = main_metric(cfg, metrics)
    rule = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('rule')
    pictures = _pictures(runner, work_dir / 'pictures', num_pictures) if isinstance(runner, IterBasedRunner) else None
    times_s = _times_of_this_session(runner, start_iter)
    spent = read_time(work_dir)
    results = []
    if expectations and is_main_process():  # only its log has all evaluations
        best = {key: (log.best(key, rule if key == main else None) or (0, value))[1] for key, value in metrics.items()}
        results = check_expectations(expectations, best, runner.train_dataloader.dataset, runner.val_dataloader.dataset)
    summary = Summary(
        metrics=metrics,
        best=log.best(main, rule) if main else None,
        main_metric=main,
        iters=runner.iter - start_iter,
        seconds_per_iter=median_iteration(times_s),
        wall_s=wall_s,
        peak_memory=_peak_memory(runner.message_hub.log_scalars),
        places=_places(work_dir, log, pictures, spent),
        next_command=_next_command(cfg, work_dir),
        expectations=results,
        time={} if spent is None else {'time': spent.split, 'change first': spent.verdict},
    )
    if is_main_process():
        summary.save(work_dir / 'summary.json')
        print(f'\n{summary}', flush=True)
    return summary


def _times_of_this_session(runner: Runner, start_iter: int) -> list[float]:
    """Return the seconds of each iteration; the message hub of a resumed run begins with those before it."""
    if 'train/time' not in runner.message_hub.log_scalars:
        return []
    values, _ = runner.message_hub.get_scalar('train/time').data
    num_iters = runner.iter - start_iter
    return [float(value) for value in values[-num_iters:]] if num_iters > 0 else []


def _peak_memory(scalars: Mapping[str, Any]) -> tuple[str, float] | None:
    for key, kind in (('mem_reserv_gib', 'GPU, reserved'), ('mem_host_gib', 'process, resident')):
        if f'train/{key}' in scalars:
            values, _ = scalars[f'train/{key}'].data
            return kind, float(max(values))
    return None


def _pictures(runner: Runner, folder: Path, count: int) -> Path | None:
    if runner.val_loop is None or not count or not is_main_process() or not can_draw(runner.val_dataloader.dataset):
        return None
    save_pictures(runner, runner.val_dataloader.dataset, runner.val_dataloader.collate_fn, folder, count)
    return folder


def _places(work_dir: Path, log: RunLog, pictures: Path | None, spent: Bottleneck | None) -> dict[str, str]:
    places = {}
    best = sorted(work_dir.glob('best_*.pth'), key=lambda path: len(path.name))
    last = checkpoint_io.find_latest(work_dir)
    checkpoint = best[0] if best else last
    if checkpoint is not None:
        places['checkpoint'] = str(checkpoint)
    if (work_dir / 'latest.log').exists():
        places['log'] = str(work_dir / 'latest.log')
    keys = choose_keys([log])
    if keys and is_main_process():
        places['curves'] = str(plot_curves([log], keys, work_dir / 'curves.png', title=log.name))
    if spent is not None and is_main_process():
        places['time split'] = str(plot_time([spent], work_dir / 'time_split.png'))
    if pictures is not None:
        places['pictures'] = str(pictures)
    return places


def _next_command(cfg: Config, work_dir: Path) -> str:
    best = sorted(work_dir.glob('best_*.pth'), key=lambda path: len(path.name))
    checkpoint = best[0] if best else checkpoint_io.find_latest(work_dir)
    if checkpoint is None or cfg.get('test_cfg') is None:
        return ''
    # The runner's copy of the config has all options and flags of this run in it: data root, precision, ...
    copy = work_dir / Path(cfg.filename).name
    config = copy if copy.is_file() else cfg.filename
    return f'python tools/test.py {config} {checkpoint} --show-dir {work_dir / "test_pictures"}'
