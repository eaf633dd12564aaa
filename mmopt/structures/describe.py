"""Names of a batch's samples, for messages."""

from typing import Any

from mmengine.structures import BaseDataElement

__all__ = ['describe_samples']

# The first that a sample has is its name; a path says most.
_NAMES = ('img_path', 'filename', 'video_path', 'path', 'video_id', 'token', 'sample_idx')
_PARTS = ('window', 'frame', 'view')  # which part of the file it is


def describe_samples(batch: Any) -> list[str]:
    """Name the samples of a collated batch.

    Args:
        batch: A batch with ``data_samples``, a list of data elements.

    Returns:
        One name per sample: a path where its metainfo has one, else what identifies it; empty without data elements.
    """
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(samples, list | tuple):
        return []
    return [_name(sample.metainfo) for sample in samples if isinstance(sample, BaseDataElement)]


def _name(facts: dict) -> str:
    key = next((key for key in _NAMES if facts.get(key) is not None), None)
    if key is None:
        return 'a sample without a name'
    name = f'sample {facts[key]}' if key == 'sample_idx' else str(facts[key])
    parts = [f'{part} {facts[part]}' for part in _PARTS if facts.get(part) is not None]
    return ' '.join([name, *parts])
