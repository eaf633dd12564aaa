"""The batch that a complete graph is traced with, and the pipeline that remains in front of it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config

from mmopt.apis.export.tensors import unequal_inputs
from mmopt.apis.run.facts import collate_of
from mmopt.datasets.common.example import example_dataset
from mmopt.engine.loading.dataset import build_dataset
from mmopt.registry import TRANSFORMS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, UserError

__all__ = ['example_batch', 'fold_normalization', 'loads_truth']

_LOGGER = logging.getLogger('mmopt.export')


def example_batch(
    cfg: Config, section: Mapping[str, Any], batch_size: int, input_size: tuple[int, int] | None
) -> tuple[dict[str, Any], list[str]]:
    """Make a collated batch: of the test set, of random images, or without files the data set's example.

    Args:
        cfg: A lowered config.
        section: Its test data set with the pipeline in front of the graph.
        batch_size: Samples.
        input_size: Height and width of random images; None for none.

    Returns:
        The batch, and the names of the classes, as far as they are known without the checkpoint.

    Raises:
        UserError: If there is neither a size nor a data set.
    """
    kind: Any
    part: Mapping[str, Any]
    kind, part = example_dataset(section) if section else (None, {})
    known = (part.get('metainfo') or {}).get('classes') or getattr(kind, 'METAINFO', {}).get('classes') or []
    if input_size is not None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (batch_size, 3, *input_size), generator=generator, dtype=torch.uint8)
        meta = dict(img_shape=tuple(input_size), ori_shape=tuple(input_size))
        return dict(inputs=list(images), data_samples=[DataSample(metainfo=dict(meta)) for _ in images]), list(known)
    if not section:
        raise UserError(f'{cfg.filename}: no test data set to take an input from; give --input-size HEIGHT WIDTH.')
    collate = collate_of(cfg.test_dataloader)
    try:
        dataset = build_dataset(dict(section))
        batch = collate([dataset[index % len(dataset)] for index in range(batch_size)])
        if unequal_inputs(batch['inputs']) or _differ(batch['data_samples']):
            batch = collate([dataset[0] for _ in range(batch_size)])
        return batch, list(dataset.metainfo.get('classes') or known)
    except (DataError, OSError) as error:
        if not hasattr(kind, 'example_sample'):
            raise UserError(f'{error} Give --input-size HEIGHT WIDTH for a graph of images alone.') from error
        _LOGGER.warning(f'The test set cannot be read, so the graph is checked on made-up samples: {error}')
        try:
            samples = [kind.example_sample(part) for _ in range(batch_size)]
        except UserError as unknown:
            raise UserError(f'{error} Without it: {unknown} Give --input-size HEIGHT WIDTH.') from unknown
        return collate(samples), list(known)


def _differ(samples: Sequence[Any]) -> bool:
    """Tell whether files have other sizes, which is one for a whole batch of a graph."""
    return len({tuple(sample.get('ori_shape', ())) for sample in samples}) > 1


def fold_normalization(cfg: Config, model: Any) -> dict[str, Any]:
    """Return the test data set's section with a pipeline that gives uint8, and set the model up to normalize that.

    A pipeline that ends with ``Normalize`` and a packing step (as of mmcv 1.x) leaves it to the graph.

    Args:
        cfg: A lowered config.
        model: The model, whose preprocessor takes over mean and standard deviation.

    Returns:
        A copy; empty where the config has no test data set.

    Raises:
        UserError: If something stands between normalization and packing: what it does would be another thing on uint8.
    """
    loader = cfg.get('test_dataloader') or {}
    if not loader.get('dataset'):
        return {}
    section = dict(example_dataset(loader['dataset'])[1])
    pipeline: Sequence[Any] = section.get('pipeline') or ()
    index = next((number for number, step in enumerate(pipeline) if _type_of(step) == 'Normalize'), None)
    if index is None:
        return section
    behind = [_type_of(step) for step in pipeline[index + 1 :] if not _type_of(step).startswith(('Pack', 'Load'))]
    preprocessor = model.data_preprocessor
    if behind or not hasattr(preprocessor, 'mean_C11'):
        what = ', '.join(behind) or f'{type(preprocessor).__name__}, which does not normalize,'
        raise UserError(
            f'The pipeline normalizes before {what}, so no graph can start from uint8: put Normalize last, or leave it '
            'out and give mean and std to the data_preprocessor. --raw exports the network behind it.'
        )
    step = pipeline[index]
    if not step.get('to_rgb', True):
        raise UserError('Normalize(to_rgb=False) feeds BGR to the model; a complete graph takes RGB. Use --raw.')
    for name, value in (('mean_C11', torch.tensor(step['mean'])), ('scale_C11', 1 / torch.tensor(step['std']))):
        getattr(preprocessor, name).copy_(value.float().view(-1, 1, 1))
    return dict(section, pipeline=[*pipeline[:index], *pipeline[index + 1 :]])


def _type_of(step: Any) -> str:
    kind = step.get('type') if isinstance(step, Mapping) else type(step)
    return str(kind if isinstance(kind, str) else getattr(kind, '__name__', kind)).rpartition('.')[2]


def loads_truth(step: Any) -> bool:
    """Tell whether a step of a pipeline is there for labels alone."""
    kind = step.get('type') if isinstance(step, Mapping) else type(step)
    return bool(getattr(TRANSFORMS.get(kind) if isinstance(kind, str) else kind, 'loads_truth', False))
