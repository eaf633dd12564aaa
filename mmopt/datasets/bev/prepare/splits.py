"""Which scenes of nuScenes are for training and which for validation.

The official split goes by scene: 8 + 2 scenes of v1.0-mini, 700 + 150 of v1.0-trainval (facts from the devkit's
``splits.py``). PON and DiffBEV divide the scenes differently so that no road is in both parts; to follow them, hand in
their lists as a file.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['official_split', 'read_split_file']

_MINI_VAL = '103 916'
_MINI_TRAIN = '61 553 655 757 796 1077 1094 1100'
_TRAINVAL_VAL = (
    '3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 632-638 770-771 775 '
    '777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073'
)


def _scenes(numbers: str) -> list[str]:
    names = []
    for part in numbers.split():
        first, _, last = part.partition('-')
        names += [f'scene-{number:04d}' for number in range(int(first), int(last or first) + 1)]
    return names


def official_split(version: str, names: Sequence[str]) -> dict[str, str]:
    """Divide the scenes as nuScenes does.

    Args:
        version: ``v1.0-mini`` or ``v1.0-trainval``.
        names: All scenes of the tables.

    Returns:
        ``train`` or ``val`` by name of the scene.

    Raises:
        UserError: If the version has no official split.
    """
    if version == 'v1.0-mini':
        split = dict.fromkeys(_scenes(_MINI_TRAIN), 'train') | dict.fromkeys(_scenes(_MINI_VAL), 'val')
    elif version == 'v1.0-trainval':
        # The test scenes are in tables of their own, so what is not for validation is for training.
        split = dict.fromkeys(names, 'train') | dict.fromkeys(_scenes(_TRAINVAL_VAL), 'val')
    else:
        raise UserError(
            f'{version} has no official split into train and val: hand one in with --split-file '
            '({"train": ["scene-0001", ...], "val": [...]}).'
        )
    return {name: split[name] for name in names if name in split}


def read_split_file(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Read a split.

    Args:
        path: JSON object with the lists ``train`` and ``val`` of scene names.
        names: All scenes of the tables.

    Returns:
        ``train`` or ``val`` by name of the scene, without scenes that the tables do not hold.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no such object, a scene is in both lists, or none is in the tables.
    """
    try:
        lists = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataNotFoundError(f'{path}: no such split file.') from error
    except ValueError as error:
        raise DataError(f'{path}: not readable as JSON: {error}.') from error
    if not isinstance(lists, dict) or set(lists) != {'train', 'val'}:
        raise DataError(f'{path}: must be {{"train": [scene names], "val": [scene names]}}.')
    if both := set(lists['train']) & set(lists['val']):
        raise DataError(f'{path}: {", ".join(sorted(both)[:3])} must not be in both train and val.')
    split = {name: part for part in ('train', 'val') for name in lists[part]}
    chosen = {name: split[name] for name in names if name in split}
    if not chosen:
        raise DataError(f'{path}: none of its {len(split)} scenes is in the tables, which hold {names[0]} and others.')
    return chosen
