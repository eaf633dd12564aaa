"""Distortion and normalization that an mmcv-1 pipeline does in the loader, moved to the model's data preprocessor.

A pipeline of mmcv 1.x names ``PhotoMetricDistortion`` and ``Normalize``. In the loader they cost as much as decoding
and make the batch four times as many bytes. Where the model has an ``ImagePreprocessor`` with the very same mean and
standard deviation, the pipeline draws the distortion's parameters (``DrawPhotometric``) and leaves the arithmetic to
it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ['move_to_device']

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# What may stand between the distortion and the end: it neither changes values of pixels nor makes new ones, as padding
# and resizing do, and packs samples in a way that keeps the distortion's parameters.
_KEEPS_PIXELS = (
    'RandomFlip',
    'RandomCrop',
    'CenterCrop',
    'DefaultFormatBundle',
    'ImageToTensor',
    'Collect',
    'PackInputs',
    'PackBEVInputs',
)


def move_to_device(lowered: Mapping[str, Any]) -> dict[str, Any]:
    """Rewrite the pipelines of a lowered config, where that changes nothing but the place of the arithmetic.

    Args:
        lowered: A lowered config; is not changed.

    Returns:
        The config; the very pipelines where the model's preprocessor does not normalize alike, or something follows
        that depends on values of pixels.
    """
    preprocessor = (lowered.get('model') or {}).get('data_preprocessor') or {}
    if preprocessor.get('type') != 'ImagePreprocessor' or not {'mean', 'std'} <= set(preprocessor):
        return dict(lowered)
    changed = {
        name: dict(lowered[name], dataset=_dataset(lowered[name]['dataset'], preprocessor))
        for name in _LOADERS
        if isinstance(lowered.get(name), Mapping) and isinstance(lowered[name].get('dataset'), Mapping)
    }
    return {**lowered, **changed}


def _dataset(dataset: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(dataset)
    if isinstance(dataset.get('dataset'), Mapping):
        changed['dataset'] = _dataset(dataset['dataset'], preprocessor)
    if isinstance(dataset.get('datasets'), list | tuple):
        changed['datasets'] = [_dataset(part, preprocessor) for part in dataset['datasets']]
    if isinstance(dataset.get('pipeline'), list | tuple):
        changed['pipeline'] = _pipeline(dataset['pipeline'], preprocessor)
    return changed


def _pipeline(pipeline: Sequence[Any], preprocessor: Mapping[str, Any]) -> list[Any]:
    last = pipeline[-1] if pipeline else None
    if isinstance(last, Mapping) and last.get('type') == 'MultiScaleFlipAug' and last.get('transforms'):
        return [*pipeline[:-1], dict(last, transforms=_pipeline(last['transforms'], preprocessor))]
    names = [transform.get('type') if isinstance(transform, Mapping) else None for transform in pipeline]
    if names.count('Normalize') != 1 or names.count('PhotoMetricDistortion') > 1:
        return list(pipeline)
    normalize = names.index('Normalize')
    first = names.index('PhotoMetricDistortion') if 'PhotoMetricDistortion' in names else normalize
    between = [name for name in names[first:] if name not in ('PhotoMetricDistortion', 'Normalize')]
    if first > normalize or not between or any(name not in _KEEPS_PIXELS for name in between):
        return list(pipeline)
    if not _is_same(pipeline[normalize], preprocessor):
        return list(pipeline)
    moved = []
    for place, transform in enumerate(pipeline):
        if place == normalize:
            continue
        moved.append(dict(transform, type='DrawPhotometric') if names[place] == 'PhotoMetricDistortion' else transform)
    return moved


def _is_same(normalize: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> bool:
    numbers = [[float(value) for value in part[key]] for part in (normalize, preprocessor) for key in ('mean', 'std')]
    return numbers[:2] == numbers[2:] and normalize.get('to_rgb', True) is True
