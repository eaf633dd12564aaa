"""A guide's YAML settings (``config_v7_5090.yaml``, Hydra's ``configs/config.yaml``) as a child of a config of ours."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from mmopt.apis.config import dataset_takes, read_config
from mmopt.config import is_native, lower
from mmopt.config.options.effect import apply_with_effect
from mmopt.config.options.merge import nest_options
from mmopt.config.options.spread import spread
from mmopt.config.render import render_value
from mmopt.config.schema import ConfigError
from mmopt.config.words.settings import Mapped, flatten, map_settings
from mmopt.utils.errors import UserError
from mmopt.utils.shipped import find_config, near_configs, shipped_folder

__all__ = ['convert_settings', 'is_settings']

# What only one of our configs is about -> that config. The first that a file mentions is its base.
_BASES = {
    'mamba': 'video_mamba_driver',
    '3dcnn': 'video_conv3d_driver',
    'conv3d': 'video_conv3d_driver',
    'stgcn': 'video_stgcn_driver',
    'uniform_temporal_subsample_num': 'video_transformer_driver',
    'max_video_frames': 'video_transformer_driver',
    'load_kpt': 'video_transformer_driver',
    'use_motion_features': 'tad_v7_mabe_5090',
    'anchor_scales': 'tad_v7_mabe_5090',
    'input_dim': 'tad_v7_mabe_5090',
    'ims_per_gpu': 'bisenetv2_cityscapes_fast',
    'mosaic_prob': 'yolov5m_fred_rgb_fast',
    'freeze_batch_size': 'yolov5m_fred_rgb_fast',
    'modality': 'yolov5m_fred_rgb_fast',
}
_CHOOSES = ('backbone', 'modality')  # what a config of ours is for, not a value in it


def is_settings(path: Path) -> bool:
    """Tell a YAML file of settings from a config of MMEngine in YAML, whose model names its type."""
    if path.suffix not in ('.yaml', '.yml'):
        return False
    content = _load(path)
    model = content.get('model')
    return not ('_base_' in content or (isinstance(model, Mapping) and 'type' in model) or is_native(content))


def convert_settings(path: Path, base: str | None = None) -> str:
    """Write settings as a config that inherits from one of ours.

    Args:
        path: A YAML file. Hydra's ``defaults`` are read from the folders beside it, where they are.
        base: The config to inherit from, as :func:`mmopt.utils.shipped.find_config` takes it; None: found by what the
            settings mention.

    Returns:
        Text of a config; comments name every setting that it does not hold, and why.

    Raises:
        UserError: If the file is no mapping, or no base is given and none can be told.
    """
    settings = _with_defaults(_load(path), path)
    name = base or _base_of(settings, path)
    file = find_config(name)
    if not file.is_file():
        near = near_configs(name)
        raise UserError(f'--base {name}: there is no such config.' + (f' Did you mean {near[0]}?' if near else ''))
    source = read_config(file).to_dict()

    def refusal(option: str, value: Any) -> str:
        if any(part.isdigit() for part in option.split('.')):
            return f'in a list of the base: --options {option}={value}'
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('error')
                lower(apply_with_effect(source, [f'{option}={value!r}'], file, native=False, takes=dataset_takes))
        except (ConfigError, UserError, Warning) as error:
            return ' '.join(str(error).split()).removeprefix(f'--options {option}={value}').lstrip(' :')
        return ''

    hydra = settings.pop('hydra', None)
    mapped, options = [], dict[str, Any]()
    for item in map_settings(settings, source, refusal):
        taken = [key for key, value in item.options.items() if key in options and options[key] != value]
        if taken:
            item = replace(item, options={}, reason=f'another setting says {taken[0]}={options[taken[0]]!r}')
        options |= item.options
        mapped.append(item)
    if hydra is not None:
        mapped.append(Mapped('hydra', hydra, {}, 'of Hydra itself; --work-dir names the folder of a run'))
    options = spread(source, options, dataset_takes)
    return _render(path, name, file, nest_options(options), mapped)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f'{path}: {" ".join(str(error).split())}') from error
    if not isinstance(content, dict):
        raise UserError(f'{path} must hold a mapping of settings, got {type(content).__name__}.')
    return {str(key): value for key, value in content.items()}


def _with_defaults(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """Put in the groups that Hydra's ``defaults`` list names; a group without a file stays as what it chooses."""
    merged: dict[str, Any] = {}
    for entry in settings.get('defaults') or ():
        for group, choice in entry.items() if isinstance(entry, Mapping) else ():
            name = str(group).removeprefix('override ').strip('/')
            file = path.parent / name / f'{choice}.yaml'
            key = 'backbone' if name == 'model' else 'group'
            merged[name] = _load(file) if file.is_file() else {key: choice}
    own = {key: value for key, value in settings.items() if key != 'defaults'}
    return Config._merge_a_into_b(own, merged) if merged else own


def _base_of(settings: Mapping[str, Any], path: Path) -> str:
    said = {key.rpartition('.')[2].lower(): str(value).lower() for key, value in flatten(settings)}
    name = next((base for word, base in _BASES.items() if word in said or word in said.values()), None)
    if name is None:
        raise UserError(
            f'{path}: nothing in it tells which config it belongs to; name one with --base, e.g. --base '
            f'baseline/bisenetv2_cityscapes_fast (there are {", ".join(_shipped())}).'
        )
    if name.startswith('yolov5m') and said.get('modality') == 'event':
        name = name.replace('rgb', 'event')
    if name.startswith('tad_v7') and 'max' in path.stem:
        name += '_max'
    return f'baseline/{name}'


def _shipped() -> list[str]:
    return sorted(path.stem for path in shipped_folder('configs').glob('baseline/*.py'))


def _render(path: Path, base: str, file: Path, content: Mapping[str, Any], mapped: list[Mapped]) -> str:
    shipped = shipped_folder('configs')
    inside = file.resolve().is_relative_to(shipped.resolve())
    origin = f'mmopt::{file.resolve().relative_to(shipped.resolve())}' if inside else str(file.resolve())
    lines = [
        f'"""The settings of {path.name}, as a child of {base} (tools/convert_config.py)."""',
        '',
        f'_base_ = {origin!r}',
    ]
    for item in mapped:
        if item.options:
            ours = ', '.join(f'{key}={value!r}' for key, value in item.options.items())
            lines.append(f'# {item.key}: {item.value!r} -> {ours}')
    lines += [f'{key} = {render_value(value, column=len(key) + 3)}' for key, value in content.items()]
    left = [item for item in mapped if not item.options]
    if left:
        lines += ['', '# Not in this config:']
        for item in left:
            chosen = item.key.rpartition('.')[2].lower() in _CHOOSES
            reason = f'chose the base {base}' if chosen else item.reason
            lines.append(f'# {item.key}: {item.value!r}: {reason}')
    return '\n'.join(lines) + '\n'
