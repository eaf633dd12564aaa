"""One work dir, one run: whose files lie there, who is writing there, and making room for another run."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmopt.utils.errors import UserError
from mmopt.utils.run_lock import LOCK_NAME, hold_folder, holder_of

__all__ = ['MOVED_TO', 'check_work_dir', 'claimed_work_dir']

MOVED_TO = 'overwritten'
"""Where ``--overwrite`` puts the files of the run before."""
_CHECKPOINT = re.compile(r'(iter|epoch)_\d+\.pth|best_.+\.pth|last_checkpoint')
_WRITTEN = re.compile(
    rf'{_CHECKPOINT.pattern}|\d{{8}}_\d{{6}}(_\d+)?(\.log(\.json)?)?|latest\.log|summary\.json|curves\.png|time_split\.png'
    r'|comparison\.md|bad_samples\.txt|pictures|test_pictures|\..+\.tmp'
)
"""What a run writes; the config's copy is replaced anyhow, and anything else is not the run's."""


def check_work_dir(cfg: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Refuse a work dir in which another run is writing or has written.

    Args:
        cfg: A lowered config, with its start chosen.
        overwrite: Whether the other run's files may be replaced.

    Raises:
        UserError: With the ways out.
    """
    folder = Path(cfg['work_dir'])
    if (holder := holder_of(folder) if folder.is_dir() else None) is not None:
        raise _is_held(folder, holder)
    _check_unused(cfg, folder, overwrite)


@contextmanager
def claimed_work_dir(cfg: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[None]:
    """Hold the work dir for a run; called by one process of it.

    Args:
        cfg: A lowered config, with its start chosen.
        overwrite: Move the files of the run before to :data:`MOVED_TO`; those that lay there are deleted.

    Yields:
        None: The folder is this run's.

    Raises:
        UserError: If another run is writing there, or has written there and neither is gone on with nor overwritten.
    """
    if not cfg.get('work_dir'):
        yield
        return
    folder = Path(cfg['work_dir'])
    folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder) as holder:
        if holder is not None:
            raise _is_held(folder, holder)
        _check_unused(cfg, folder, overwrite)
        if overwrite and _traces(folder):
            _make_room(folder, cfg.get('load_from'))
        yield


def _is_held(folder: Path, holder: Mapping[str, Any]) -> UserError:
    who = f'process {holder.get("pid", "?")} on {holder.get("host", "?")} since {holder.get("since", "?")}'
    return UserError(
        f"{folder}: another run is writing there ({who}): two would replace each other's checkpoints. Choose another "
        f'folder (--work-dir DIR), or end that run and go on with it (--auto-resume). If it is gone: '
        f'delete {folder / LOCK_NAME}.'
    )


def _traces(folder: Path) -> list[str]:
    """Name what a run has left: checkpoints, or logged iterations."""
    if not folder.is_dir():
        return []
    checkpoints = sorted(item.name for item in folder.iterdir() if _CHECKPOINT.fullmatch(item.name))
    curves = [path for path in folder.glob('*/vis_data/scalars.json') if path.stat().st_size]
    return checkpoints or [str(path.relative_to(folder)) for path in curves[:1]]


def _check_unused(cfg: Mapping[str, Any], folder: Path, overwrite: bool) -> None:
    traces = _traces(folder)
    if not traces or overwrite or cfg.get('auto_resume') or _goes_on(cfg, folder):
        return
    newest = max(traces, key=lambda name: (folder / name).stat().st_mtime)
    raise UserError(
        f'{folder} holds a run already ({newest}). Go on with it: --auto-resume. Begin another one elsewhere: '
        f'--work-dir DIR. Replace it: --overwrite, which moves its files to {folder / MOVED_TO}.'
    )


def _goes_on(cfg: Mapping[str, Any], folder: Path) -> bool:
    """Tell whether the run goes on with the one of the folder."""
    if not cfg.get('resume') or not cfg.get('load_from'):
        return False
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folders = [folder] if not hook.get('out_dir') else [folder, Path(hook['out_dir'], folder.name)]
    return Path(cfg['load_from']).resolve().parent in [item.resolve() for item in folders]


def _make_room(folder: Path, load_from: str | None) -> None:
    moved = [item for item in folder.iterdir() if _WRITTEN.fullmatch(item.name)]
    if load_from and Path(load_from).resolve() in [item.resolve() for item in moved]:
        raise UserError(
            f'--overwrite would move {load_from}, which the run begins with: copy it to another folder first, or '
            'begin the run in one (--work-dir DIR).'
        )
    target = folder / MOVED_TO
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for item in moved:
        item.rename(target / item.name)
    print(f'overwrite: moved the {len(moved)} files and folders of the run before to {target}.', flush=True)
