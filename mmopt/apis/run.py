"""Train and test from a lowered config: what ``tools/train.py`` and ``tools/test.py`` call."""

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import distributed

from mmopt.apis.bottleneck import Bottleneck, plot_time, read_time
from mmopt.apis.config import missing_file
from mmopt.apis.curves import choose_keys, plot_curves
from mmopt.apis.estimate import estimate_memory
from mmopt.apis.expect import check_expectations, parse_expectations
from mmopt.apis.facts import Facts, Start, collect_facts
from mmopt.apis.logs import RunLog, read_run
from mmopt.apis.pictures import can_draw, save_pictures
from mmopt.apis.preflight import Preflight, describe_run
from mmopt.apis.progress import ProgressBar, ProjectedEnd
from mmopt.apis.remedies import with_estimates
from mmopt.apis.summary import Summary, median_iteration
from mmopt.config.evaluation import main_metric
from mmopt.engine import checkpoint_io
from mmopt.engine.micro_batch import DoesNotFitError
from mmopt.registry import RUNNERS
from mmopt.utils.distributed import init_distributed, rank_to_be
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import prepare_determinism

__all__ = ['build_runner', 'evaluate', 'preflight', 'set_start', 'start_of', 'train']

NUM_PICTURES = 4


def build_runner(cfg: Config) -> Runner:
    """Build the runner that ``cfg.runner_type`` names.

    Args:
        cfg: A lowered config.

    Returns:
        The runner, ready to train or test.
    """
    prepare_determinism(cfg.get('randomness'))
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    name = cfg.get('runner_type', 'IterBasedRunner')
    runner_class = RUNNERS.get(name)
    if runner_class is None:
        raise KeyError(f'{name} is not in the {RUNNERS.scope}::{RUNNERS.name} registry.')
    return runner_class.from_cfg(cfg)


def set_start(
    cfg: Config, *, load_from: str | None = None, resume_from: str | None = None, auto_resume: bool = False
) -> None:
    """Choose where a run starts; flags win over the config.

    Args:
        cfg: A lowered config; is changed.
        load_from: Start with these weights.
        resume_from: Go on from this checkpoint.
        auto_resume: Go on from the newest checkpoint of the work dir if there is one, else begin with the weights of
            ``load_from``.

    Raises:
        UserError: If a checkpoint does not exist.
    """
    # The config says so itself: with weights to begin with, or without (MMEngine's wording).
    auto_resume = auto_resume or cfg.pop('auto_resume', False) or bool(cfg.get('resume') and not cfg.get('load_from'))
    if load_from is not None:
        cfg.load_from, cfg.resume = load_from, False
    if resume_from is not None:
        cfg.load_from, cfg.resume = resume_from, True
    elif auto_resume:
        newest = _newest_of_first_process(cfg)
        if newest is not None:
            cfg.load_from, cfg.resume = str(newest), True
        elif not cfg.get('load_from'):
            cfg.resume = False
    if cfg.get('load_from'):
        _check_there(cfg.load_from)


def _newest_of_first_process(cfg: Config) -> Path | None:
    """Let rank 0 look: the others might see a file that it is about to replace, or another disk."""
    if cfg.get('launcher', 'none') == 'none':
        return checkpoint_io.find_latest(Path(cfg.work_dir))
    prepare_determinism(cfg.get('randomness'))
    if not distributed.is_initialized():
        dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
        init_distributed(cfg.launcher, dist_cfg.get('backend'), dist_cfg.get('timeout', 1800), dist_cfg.get('port'))
    found = [checkpoint_io.find_latest(Path(cfg.work_dir)) if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]


def _check_there(checkpoint: str) -> None:
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise missing_file(checkpoint, 'checkpoint', suffix='.pth')


def start_of(cfg: Config) -> Start | None:
    """Return where a resumed run starts; None for a new run."""
    if not cfg.get('resume') or not cfg.get('load_from'):
        return None
    checkpoint = checkpoint_io.load(
        Path(cfg.load_from), map_location='cpu', allow_pickle=cfg.get('allow_pickle', False)
    )
    meta = checkpoint.get('meta', {})
    return Start(meta.get('iter', 0), meta.get('precision'))


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
        raise UserError(f'{cfg.filename}: the config has no training data (data.train), so there is nothing to train.')
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
    if expectations and not cfg.get('val_cfg'):
        raise UserError(f'{cfg.filename}: expect needs an evaluation: add data.val and evaluation, or drop expect.')
    # Read now: the run may replace the very checkpoint that it goes on from.
    start = start_of(cfg)
    facts = _look(cfg, start)
    if rank_to_be(cfg.get('launcher', 'none')) == 0:
        print(f'{describe_run(cfg, facts)}\n', flush=True)
    started = time.perf_counter()
    runner = build_runner(cfg)
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
    metrics = _scalars(runner.val_loop.metrics) if runner.val_loop is not None else {}
    main = main_metric(cfg, metrics)
    rule = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('rule')
    pictures = _pictures(runner, work_dir / 'pictures', num_pictures)
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


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    # Tensors and NumPy's scalars have item(); lists and arrays are for the log only.
    plain = {key: value.item() if getattr(value, 'shape', None) == () else value for key, value in metrics.items()}
    return {key: value for key, value in plain.items() if isinstance(value, int | float)}


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
    if checkpoint is None or not cfg.get('test_cfg'):
        return ''
    # The runner's copy of the config has all options and flags of this run in it: data root, precision, ...
    copy = work_dir / Path(cfg.filename).name
    config = copy if copy.is_file() else cfg.filename
    return f'python tools/test.py {config} {checkpoint} --show-dir {work_dir / "test_pictures"}'


def evaluate(
    cfg: Config, checkpoint: str, *, show_dir: str | None = None, num_pictures: int = NUM_PICTURES
) -> dict[str, float]:
    """Compute the metrics of a checkpoint, and draw pictures.

    Args:
        cfg: A lowered config.
        show_dir: Where pictures go; None for none.
        num_pictures: Pictures, spread over the test set.

    Returns:
        The scalar metrics.

    Raises:
        UserError: If the checkpoint is missing or the config tests nothing.
    """
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise UserError(f'{cfg.filename}: the config has no data.test or no evaluation, so there is nothing to test.')
    _check_there(checkpoint)
    cfg.load_from, cfg.resume = checkpoint, False
    cfg.pop('auto_resume', None)
    runner = build_runner(cfg)
    runner.register_hook(ProgressBar())
    metrics = _scalars(runner.test())
    if show_dir is not None and is_main_process():
        loader = runner.test_dataloader
        save_pictures(runner, loader.dataset, loader.collate_fn, show_dir, num_pictures)
    return metrics
