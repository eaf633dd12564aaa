"""A sample without data: what a library's pipeline gives for an image and labels that are made up.

Data sets of OpenMMLab's libraries list a dict per sample and leave the rest to their pipeline. So the config's own
transforms are run on a dict with the keys that the loading transforms of those libraries read, and on files that are
written for them. What leaves the pipeline has the types and shapes that it gives.
"""

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import Compose

from mmopt.utils.numbers import is_whole

__all__ = ['NUM_ITEMS', 'made_up_samples']

NUM_ITEMS = 16
"""Labels of a made-up sample, where nobody asks for another number."""
NUM_DRAWS = 8
_DEFAULT_SIZE = (1333, 800)
_SIZES = ('scale', 'img_scale', 'scales', 'crop_size', 'size')


def made_up_samples(dataset: Mapping[str, Any], folder: Path, max_items: int | None = None) -> tuple[list, str]:
    """Run a data set's pipeline on made-up files.

    Args:
        dataset: The data set's part of a lowered config, with a ``pipeline`` or around one that has it.
        folder: Where the files go.
        max_items: Labels; None: :data:`NUM_ITEMS`.

    Returns:
        Samples, since pipelines draw sizes at random, and what they are in words.
    """
    steps = _steps(dataset)
    if not steps:
        raise ValueError('the data set has no pipeline')
    width, height = _image_size(steps)
    count = NUM_ITEMS if max_items is None else max_items
    listed = _what_loaders_read(folder, width, height, count)
    # A sample says what its data set told the loader, which MMSegmentation compares with the loader's own argument.
    listed['reduce_zero_label'] = any(step.get('reduce_zero_label') for step in steps if isinstance(step, Mapping))
    transforms = Compose(steps).transforms
    samples = [functools.reduce(_apply, transforms, copy.deepcopy(listed)) for _ in range(NUM_DRAWS)]
    return (
        samples,
        f'made-up data: an image of {width}x{height} with {count} labels, through the pipeline of the config',
    )


def _steps(dataset: Mapping[str, Any]) -> list:
    """Return the transforms of a data set and of those around it, the inner ones first."""
    inner = dataset.get('dataset') or (dataset.get('datasets') or [None])[0]
    return (_steps(inner) if inner is not None else []) + list(dataset.get('pipeline') or ())


def _apply(sample: Any, transform: Any) -> Any:
    """Apply a transform; one that mixes samples (mosaic, mix-up) gets copies of this one as the others."""
    indices_of = getattr(transform, 'get_indexes', None) or getattr(transform, 'get_indices', None)
    if indices_of is None:
        return transform(sample)
    indices = indices_of([sample] * 8)  # it asks for a length, or for a sample with labels
    count = len(indices) if isinstance(indices, Sequence) else 1
    mixed = transform(sample | dict(mix_results=[copy.deepcopy(sample) for _ in range(count)]))
    mixed.pop('mix_results', None)
    return mixed


def _image_size(pipeline: Any) -> tuple[int, int]:
    """Return width and height of the largest size that a transform names: images are resized to it."""
    sizes = [size for name in _SIZES for size in _sizes(pipeline, name)]
    return max(sizes, key=lambda size: size[0] * size[1], default=_DEFAULT_SIZE)


def _sizes(value: Any, name: str) -> Iterator[tuple[int, int]]:
    if isinstance(value, Mapping):
        yield from _pairs(value.get(name))
        for child in value.values():
            yield from _sizes(child, name)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _sizes(child, name)


def _pairs(value: Any) -> Iterator[tuple[int, int]]:
    if is_whole(value) and value > 0:
        yield value, value
    elif isinstance(value, list | tuple):
        if len(value) == 2 and all(is_whole(item) and item > 0 for item in value):
            yield value[0], value[1]
        else:
            for item in value:
                yield from _pairs(item)


def _what_loaders_read(folder: Path, width: int, height: int, count: int) -> dict[str, Any]:
    image, labels = folder / 'image.png', folder / 'labels.png'
    rng = np.random.default_rng(0)
    cv2.imwrite(str(image), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    cv2.imwrite(str(labels), np.zeros((height, width), np.uint8))
    instances = []
    for _ in range(count):
        # At least a quarter of the image wide and high: crops and filters of small boxes must leave some.
        left, top = rng.uniform(0, 0.5, 2) * (width, height)
        right, bottom = (left, top) + rng.uniform(0.25, 0.5, 2) * (width, height)
        corners = [left, top, right, top, right, bottom, left, bottom]
        instances.append(
            dict(
                bbox=[left, top, right, bottom],
                bbox_label=0,
                ignore_flag=0,
                ignore=False,
                mask=[corners],
                polygon=corners,
                text='text',
            )
        )
    return dict(
        img_path=str(image),
        height=height,
        width=width,
        img_id=0,
        sample_idx=0,
        gt_label=0,
        instances=instances,
        seg_map_path=str(labels),
        label_map=None,
        seg_fields=[],
    )
