"""Write a lowered config as a Python file that people read: sections in order, each with where it comes from."""

import keyword
import textwrap
from collections.abc import Mapping
from typing import Any

from mmopt.config.dropped import dropped_keys, sections_of
from mmopt.config.keys import is_lowered_to

__all__ = ['render_native', 'render_value']

_WIDTH = 100

# Section heading -> keys, in the order of the file.
_LAYOUT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ('', ('default_scope', 'custom_imports', 'runner_type')),
    ('Model', ('model', 'model_wrapper_cfg')),
    ('Data', ('train_dataloader', 'val_dataloader', 'test_dataloader')),
    ('Evaluation', ('val_evaluator', 'test_evaluator')),
    ('Length of the run and evaluation points', ('train_cfg', 'val_cfg', 'test_cfg')),
    ('Optimizer step and schedules', ('optim_wrapper', 'param_scheduler', 'auto_scale_lr')),
    ('Hooks and logs', ('default_hooks', 'custom_hooks', 'log_processor', 'visualizer', 'log_level')),
    (
        'Start, environment, seeds',
        ('load_from', 'resume', 'auto_resume', 'env_cfg', 'randomness', 'launcher', 'work_dir'),
    ),
)


def render_native(lowered: Mapping[str, Any], original: Mapping[str, Any], *, source: str) -> str:
    """Write a lowered config as Python.

    Args:
        lowered: What :func:`mmopt.config.lower` returned.
        original: The config it was made of, for the comments.
        source: Name of the original file.

    Returns:
        Text of a config file; read back, it is ``lowered`` without those variables (``img_norm_cfg``) whose values
        stand in the sections anyway.
    """
    blocks = [f'# {source}, an MMCV-1.x config, as a native MMEngine config for mmopt (tools/convert_config.py).']
    listed: set[str] = set()
    for heading, keys in _LAYOUT:
        present = [key for key in keys if key in lowered]
        listed.update(present)
        if present and heading:
            blocks.append(f'# ---- {heading} '.ljust(_WIDTH, '-'))
        blocks += [_assignment(key, lowered, original) for key in present]
    # A root stays, since `--options data_root=...` replaces it wherever a path begins with it.
    rest = [key for key in lowered if key not in listed]
    inlined = [key for key in rest if key != 'data_root' and not _is_section(lowered[key], lowered, listed)]
    kept = [key for key in rest if key not in inlined]
    if kept:
        blocks.append('# ---- Other sections and variables '.ljust(_WIDTH, '-'))
        blocks += [_assignment(key, lowered, original) for key in kept]
    if inlined:
        text = f'Variables of the original, written out above: {", ".join(inlined)}.'
        blocks.append(textwrap.fill(text, _WIDTH, initial_indent='# ', subsequent_indent='# '))
    return '\n'.join(blocks) + '\n'


def _is_section(value: Any, lowered: Mapping[str, Any], listed: set[str]) -> bool:
    """Tell a section of some library from a variable: a dict whose content stands nowhere else."""
    return isinstance(value, dict) and not any(_contains(lowered[key], value) for key in listed)


def _contains(part: Any, value: Any) -> bool:
    if isinstance(part, dict):
        # A variable may have been extended where it was used: `dict(type='Normalize', **img_norm_cfg)`.
        if all(key in part and part[key] == item for key, item in value.items()):
            return True
        part = list(part.values())
    return isinstance(part, list | tuple) and any(_contains(item, value) for item in part)


def _assignment(key: str, lowered: Mapping[str, Any], original: Mapping[str, Any]) -> str:
    notes = _notes(key, lowered, original)
    lines = [textwrap.fill(note, _WIDTH, initial_indent='# ', subsequent_indent='#   ') for note in notes]
    lines.append(f'{key} = {render_value(lowered[key], column=len(key) + 3)}')
    return '\n'.join(lines)


def _notes(key: str, lowered: Mapping[str, Any], original: Mapping[str, Any]) -> list[str]:
    """Say where a section comes from and what is not obvious about it."""
    notes = []
    if sources := _sources(key, original):
        notes.append(f'From {", ".join(sources)}.')
    value = lowered[key]
    if key == 'model':
        moved = [name for name in ('train_cfg', 'test_cfg') if original.get(name) is not None]
        notes += [f'{name} stood at the top level.' for name in moved]
    elif key == 'train_dataloader':
        notes.append('persistent_workers and pin_memory are on unless the original said otherwise.')
    elif key == 'val_evaluator' and value['metrics'][0]['type'] == 'DatasetEvaluateMetric':
        notes.append("Calls the data set's own evaluate(results, ...), as MMCV does.")
    elif key == 'train_cfg' and 'val_at_end' in value:
        notes.append(
            'val_at_end: one evaluation after the last step; MMCV leaves it out when the interval does not divide.'
        )
    elif key == 'optim_wrapper':
        if isinstance(value.get('loss_scale'), float):
            notes.append(f'loss_scale {value["loss_scale"]} is static, as in MMCV; write "dynamic" for a moving one.')
        if value.get('paramwise_cfg'):
            notes.append("The constructor gives MMCV's learning rates and weight decays; MMEngine's own differs.")
    elif key == 'param_scheduler' and value:
        notes.append('One closed form each, stepped every iteration; by_epoch says what the policy counts.')
    elif key == 'log_processor':
        notes.append('MMCV averages over the log interval.')
    elif key == 'custom_hooks' and any(hook.get('ema_type') for hook in value):
        notes.append("The EMA's warm-up and interval follow MMCV's or MMDetection's hook.")
    elif key == 'default_scope' and (dropped := dropped_keys(original)):
        notes.append(f'Without counterpart, dropped: {", ".join(dropped)}.')
        notes += [f'{name}: {reason}.' for name, reason in dropped.items()]
    return notes


def _sources(lowered_key: str, original: Mapping[str, Any]) -> list[str]:
    """Name the top-level keys of the original that a lowered key is made of."""
    found = [
        name.partition('.')[0] or key
        for name, section, part in sections_of(original)
        for key in section.keys
        if part.get(key) is not None and is_lowered_to(key, section.keys[key], lowered_key)
    ]
    # Those of the model are said in other words.
    return [name for name in dict.fromkeys(found) if name != lowered_key and lowered_key != 'model']


def render_value(value: Any, *, column: int = 0, indent: int = 0) -> str:
    """Write a value as Python, on one line where it fits.

    Args:
        value: Dicts, lists, tuples and whatever has an exact ``repr``.
        column: Characters that stand before it on its line.
        indent: Indentation of that line.

    Returns:
        The text; its further lines are indented.
    """
    flat = _flat(value)
    if indent + column + len(flat) < _WIDTH or not isinstance(value, dict | list | tuple) or not value:
        return flat
    margin = ' ' * (indent + 4)
    if isinstance(value, dict):
        as_call = _is_call(value)
        opening, closing = ('dict(', ')') if as_call else ('{', '}')
        heads = [f'{key}=' if as_call else f'{key!r}: ' for key in value]
        items = [
            head + render_value(item, column=len(head) + 1, indent=indent + 4)
            for head, item in zip(heads, value.values(), strict=True)
        ]
    else:
        opening, closing = '[]' if isinstance(value, list) else '()'
        items = [render_value(item, column=1, indent=indent + 4) for item in value]
    lines = ''.join(f'{margin}{item},\n' for item in items)
    return f'{opening}\n{lines}{" " * indent}{closing}'


def _is_call(value: dict) -> bool:
    return all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        if _is_call(value):
            return f'dict({", ".join(f"{key}={_flat(item)}" for key, item in value.items())})'
        return f'{{{", ".join(f"{key!r}: {_flat(item)}" for key, item in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_flat, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_flat, value))}{"," if len(value) == 1 else ""})'
    if isinstance(value, float) and (value != value or abs(value) == float('inf')):
        return f"float('{value}')"
    return repr(value)
