"""Where a run starts: the runner that a config names, the checkpoint that it begins with or goes on from."""

from pathlib import Path

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import distributed

from mmopt.apis.config import missing_file
from mmopt.apis.run.facts import Start, world_size_of
from mmopt.engine import IterBasedRunner, checkpoint_io
from mmopt.engine.resume.changes import changes_since, check_resumable, keeps_optimizer
from mmopt.registry import RUNNERS
from mmopt.utils.distributed import init_distributed
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import prepare_determinism

__all__ = ['build_runner', 'check_hash', 'check_there', 'set_start', 'start_of']


def build_runner(cfg: Config) -> Runner:
    """Build the runner that ``cfg.runner_type`` names.

    Args:
        cfg: A lowered config.

    Returns:
        The runner, ready to train or test. MMEngine's own is replaced by mmopt's; one of another library runs as it is.
    """
    prepare_determinism(cfg.get('randomness'))
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    name = cfg.get('runner_type') or IterBasedRunner
    runner_class = RUNNERS.get(name) if isinstance(name, str) else name
    if runner_class is None:
        raise KeyError(f'{name} is not in the {RUNNERS.scope}::{RUNNERS.name} registry.')
    if runner_class is Runner:
        runner_class = IterBasedRunner
    runner = runner_class.from_cfg(cfg)
    if not isinstance(runner, IterBasedRunner):
        runner.logger.warning(
            f'{runner_class.__name__} is no runner of mmopt and runs as it is: no micro-batches and no other key of '
            'optimize, no exact resuming, no checks of losses and memory. Derive it from '
            'mmopt.engine.IterBasedRunner to have them.'
        )
    return runner


def set_start(
    cfg: Config,
    *,
    load_from: str | None = None,
    resume_from: str | None = None,
    auto_resume: bool = False,
    anew: bool = False,
) -> None:
    """Choose where a run starts; flags win over the config.

    Args:
        cfg: A lowered config; is changed.
        load_from: Start with these weights.
        resume_from: Go on from this checkpoint.
        auto_resume: Go on from the newest checkpoint of the work dir if there is one, else begin with the weights of
            ``load_from``.
        anew: Do not look for a checkpoint in the work dir, whatever the config says.

    Raises:
        UserError: If a checkpoint does not exist.
    """
    if anew:
        cfg.pop('auto_resume', None)
        cfg.resume = bool(cfg.get('resume') and cfg.get('load_from'))
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
        # A run that was killed before its first checkpoint is gone on with, too.
        cfg.auto_resume = True
    if cfg.get('load_from'):
        check_there(cfg.load_from)


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


def check_there(checkpoint: str) -> None:
    """Refuse a checkpoint that does not exist, unless it is an address."""
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise missing_file(checkpoint, 'checkpoint', suffix='.pth')


def check_hash(cfg: Config) -> None:
    """Refuse another file than ``load_from_sha256`` says; a run that goes on from a checkpoint reads no such file.

    Raises:
        UserError: If it is another one, or the config names none.
    """
    wanted = cfg.get('load_from_sha256')
    if wanted is None or cfg.get('resume'):
        return
    if not cfg.get('load_from'):
        raise UserError(
            f'{cfg.filename}: load_from_sha256 says which file load_from must be, and there is no load_from: add it, '
            'or drop load_from_sha256.'
        )
    checkpoint_io.check_sha256(cfg.load_from, wanted)


def start_of(cfg: Config) -> Start | None:
    """Return where a resumed run starts.

    Returns:
        Iteration, precision and changes; None for a new run.

    Raises:
        UserError: If no run can go on from the checkpoint with this config.
    """
    if not cfg.get('resume') or not cfg.get('load_from'):
        return None
    checkpoint = checkpoint_io.load(
        Path(cfg.load_from), map_location='cpu', allow_pickle=cfg.get('allow_pickle', False)
    )
    world_size = world_size_of(cfg.get('launcher', 'none'))
    keeps = keeps_optimizer(checkpoint, cfg, world_size)
    check_resumable(checkpoint, cfg.load_from, cfg, world_size, optimizer=keeps)
    meta = checkpoint['meta']
    return Start(meta['iter'], meta.get('precision'), str(changes_since(checkpoint, cfg, world_size)))
