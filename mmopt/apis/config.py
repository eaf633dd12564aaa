"""From a config file and flags to the native MMEngine config that a runner takes.

File -> options merged in the dialect the file is written in -> :func:`mmopt.config.lower` -> flags. Flags come last, on
the lowered config, so that they mean the same for dialect and native configs.
"""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmopt.apis.custom_imports import import_custom_modules
from mmopt.apis.extension import provide_extension
from mmopt.config import is_native, lower
from mmopt.config.files import read_file
from mmopt.config.options.effect import apply_with_effect
from mmopt.config.precision import with_precision
from mmopt.config.ranges import check_ranges, check_seed
from mmopt.config.spelling import speak
from mmopt.config.words.names import lookalikes
from mmopt.engine.scope import warn_of_unknown_scope
from mmopt.engine.switches.scale_lr import samples_per_step
from mmopt.mmcv1.prepare import lower_repository
from mmopt.mmcv1.prepare import prepare as prepare_mmcv1
from mmopt.mmcv1.recognize import Repository
from mmopt.registry import DATASETS
from mmopt.utils.errors import ConfigWarning, UserError
from mmopt.utils.shipped import find_config, near_configs, shipped_folder
from mmopt.utils.terminal import nearest

__all__ = [
    'PRESETS',
    'dataset_takes',
    'load_config',
    'missing_file',
    'read_config',
    'read_preset',
    'set_precision',
    'without_validation',
]

PRESETS = shipped_folder('configs') / '_base_' / 'optimize'
"""Where the presets lie."""


def missing_file(path: str | Path, what: str, *, suffix: str = '') -> UserError:
    """Return the error for a file that is not there, with the names of files near it.

    Args:
        path: What was asked for.
        what: What it should have been: ``'config'``, ``'checkpoint'``.
        suffix: Files to suggest end with it.

    Returns:
        The error, to be raised.
    """
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        candidates = [str(item) for item in sorted(path.glob(f'*{suffix}'))]
        return UserError(f'{what} {path} is a folder, not a file. {_suggest(candidates[:3])}')
    if not folder.is_dir():
        while not folder.is_dir():
            folder = folder.parent
        return UserError(
            f'{what} {path} does not exist: there is no folder {path.parent} (working folder {Path.cwd()}). '
            f'{_suggest(_near_anywhere(path, folder, suffix) or _near_shipped(path, what))}'.rstrip()
        )
    names = [item.name for item in folder.iterdir() if item.name.endswith(suffix) and item.is_file()]
    near = [str(folder / name) for name in nearest(path.name, names)] or _near_anywhere(path, folder.parent, suffix)
    near = near or _near_shipped(path, what)
    return UserError(f'{what} {path} does not exist. {_suggest(near)}'.rstrip())


def _near_anywhere(path: Path, folder: Path, suffix: str) -> list[str]:
    # Two levels: enough for configs/<kind>/<name>.py, cheap in a home folder.
    files = [item for depth in ('*', '*/*') for item in folder.glob(depth + suffix) if item.is_file()]
    near = nearest(path.name, [item.name for item in files[:5000]])
    return [str(item) for name in near for item in files if item.name == name][:3]


def _near_shipped(path: Path, what: str) -> list[str]:
    return near_configs(path) if what == 'config' else []


def _suggest(near: Sequence[str]) -> str:
    return f'Did you mean {" or ".join(near)}?' if near else ''


def read_config(path: str | Path, options: Sequence[str] = (), preset: str | None = None) -> Config:
    """Read a config file in its own dialect and merge a preset and options into it.

    Args:
        options: ``key.subkey=value`` texts; they win over the preset.
        preset: See :func:`read_preset`; its keys win over those of the file's ``optimize`` section.

    Returns:
        The config, not lowered.

    Raises:
        UserError: If the file or one of its bases is missing or broken, or an option names an unknown key.
    """
    return _read(path, options, preset)[0]


def _read(path: str | Path, options: Sequence[str], preset: str | None) -> tuple[Config, Repository | None]:
    """Read a config and import what it names; also return that where it is code written for mmcv 1.x."""
    path = find_config(path)
    if not path.is_file():
        raise missing_file(path, 'config', suffix='.py')
    source = read_file(path)
    if preset is not None:
        source['optimize'] = {**(source.get('optimize') or {}), **read_preset(preset)}
    if options:
        source = apply_with_effect(source, list(options), path, native=is_native(source), takes=dataset_takes)
    provide_extension(source)
    repository = prepare_mmcv1(source, path)
    if repository is None:
        import_custom_modules(path, source.get('custom_imports'))
    return Config(source, filename=str(path)), repository


def dataset_takes(dataset: Mapping[str, Any], name: str) -> bool:
    """Tell whether the class of a data set names an argument; a class that is not known yet, as a user's, does not.

    Args:
        dataset: Its part of a config.
        name: The argument.

    Returns:
        True if the constructor has an argument of this name.
    """
    kind = dataset.get('type')
    found = DATASETS.get(kind) if isinstance(kind, str) else kind
    return inspect.isclass(found) and name in inspect.signature(found).parameters


def _read_lowered(path: str | Path, options: Sequence[str] = (), preset: str | None = None) -> dict[str, Any]:
    config, repository = _read(path, options, preset)
    source = config.to_dict()
    _warn_of_lookalikes(source, path)
    speak('mmengine' if repository is None and is_native(source) else 'mmcv1')
    return lower(source) if repository is None else lower_repository(source, repository)


def read_preset(name: str) -> dict[str, Any]:
    """Return the ``optimize`` section of a preset.

    Args:
        name: ``standard``, ``aggressive``, ``extreme`` (the files of ``configs/_base_/optimize``), or a file.

    Returns:
        The section.

    Raises:
        UserError: If there is no such preset, or the file has no such section.
    """
    path = PRESETS / f'{name}.py' if not name.endswith('.py') else Path(name)
    if not path.is_file():
        known = sorted(item.stem for item in PRESETS.glob('*.py'))
        raise UserError(
            f'--preset {name}: there is no {path}; known: {", ".join(known) or "none"}, or a file of yours.'
        )
    section = read_file(path).get('optimize')
    if not isinstance(section, dict):
        raise UserError(f'--preset {name}: {path} has no section optimize=dict(...).')
    return section


def load_config(
    path: str | Path,
    *,
    options: Sequence[str] = (),
    preset: str | None = None,
    work_dir: str | None = None,
    precision: str | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    allow_pickle: bool = False,
    launcher: str = 'none',
) -> Config:
    """Read a config, apply options and flags, and lower it.

    Args:
        path: Config file, in the MMCV-1.x dialect or native; or the name of one that ships, as
            :func:`mmopt.utils.shipped.find_config` takes it.
        options: ``key.subkey=value`` texts; they speak the dialect of the file.
        preset: See :func:`read_preset`.
        work_dir: Default: the config's own, else ``work_dirs/<config name>``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``auto``: replaces what the config says.
        seed: Replaces the config's.
        deterministic: Ask for deterministic kernels.
        allow_pickle: Load checkpoints that hold arbitrary Python objects, which runs whatever code they name.
        launcher: ``none``, ``pytorch`` or ``slurm``.

    Returns:
        A native config; its ``filename`` is the file's.
    """
    path = find_config(path)
    lowered = _read_lowered(path, options, preset)
    lowered['work_dir'] = work_dir or lowered.get('work_dir') or str(Path('work_dirs', Path(path).stem))
    lowered['launcher'] = launcher
    randomness: dict[str, Any] = dict(seed=None) | dict(lowered.get('randomness') or {})  # MMEngine asks for the key
    if seed is not None:
        check_seed('--seed', seed)
        randomness['seed'] = seed
    if deterministic:
        randomness['deterministic'] = True
    lowered['randomness'] = randomness
    if allow_pickle:
        lowered['allow_pickle'] = True
    lowered.setdefault('runner_type', 'IterBasedRunner')
    if options:
        _note_base_batch(lowered, path)
    check_ranges(lowered)
    warn_of_unknown_scope(lowered)
    cfg = Config(lowered, filename=str(path))
    if precision is not None:
        set_precision(cfg, precision)
    return cfg


def _warn_of_lookalikes(source: dict[str, Any], path: str | Path) -> None:
    near = {} if is_native(source) else lookalikes(source)
    if near:
        names = ', '.join(f'{name} (the section is called {section})' for name, section in near.items())
        text = f'{path}: variables that are called almost like sections, which the file does not have: {names}.'
        warnings.warn(text, ConfigWarning, stacklevel=3)


def set_precision(cfg: Config, precision: str) -> None:
    """Replace the precision of a lowered config; an fp16 config asked for fp16 keeps its loss scale.

    Args:
        cfg: A lowered config; is changed.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``auto``.

    Raises:
        UserError: If the config trains nothing, so has no ``optim_wrapper``.
    """
    if not cfg.get('optim_wrapper'):
        raise UserError(f'{cfg.filename}: --precision {precision} has no effect: the config has no optimizer.')
    cfg['optim_wrapper'] = with_precision(cfg.optim_wrapper, precision)


def without_validation(cfg: Config) -> None:
    """Take evaluation out of a lowered config, and what waits for its results."""
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        cfg[key] = None
    cfg.pop('expect', None)
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if checkpoint:
        checkpoint.pop('save_best', None)
        checkpoint.pop('rule', None)


def _lr(cfg: dict) -> float | None:
    return ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr')


def _note_base_batch(lowered: dict, path: str | Path) -> None:
    """Where options changed the batch and left the learning rate, note the batch that the rate was written for."""
    if lowered.get('auto_scale_lr'):
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConfigWarning)  # it has warned when it was read first
        before = _read_lowered(path)
    batch = samples_per_step(before)
    if batch is not None and batch != samples_per_step(lowered) and _lr(before) == _lr(lowered):
        lowered['auto_scale_lr'] = dict(base_batch_size=batch, enable=False)
