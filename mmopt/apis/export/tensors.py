"""Between samples and the tensors of a complete graph: the same for who exports and who predicts with the file."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmopt.utils.errors import UserError

__all__ = ['give_predictions', 'graph_inputs', 'unequal_inputs']

INPUTS = 'inputs'
"""Name of an input that is no dict."""


def unequal_inputs(inputs: Any) -> bool:
    """Tell whether the inputs of a batch cannot be stacked."""
    if isinstance(inputs, Mapping):
        return any(map(unequal_inputs, inputs.values()))
    return isinstance(inputs, list | tuple) and len({tuple(part.shape) for part in inputs}) > 1


def graph_inputs(batch: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Tensor]:
    """Return what a complete graph takes, by name and in its order.

    Args:
        batch: A collated batch.
        fields: Fields of the samples that the graph takes.

    Returns:
        Tensors, batch first.

    Raises:
        UserError: If a sample lacks a field, or inputs have unequal sizes.
    """
    inputs, samples = batch['inputs'], batch.get('data_samples')
    if unequal_inputs(inputs):
        raise UserError('The samples of the batch have unequal sizes: use --batch 1.')
    parts = inputs if isinstance(inputs, Mapping) else {INPUTS: inputs}
    tensors = {name: part if isinstance(part, Tensor) else torch.stack(list(part)) for name, part in parts.items()}
    for name in fields:
        if not samples or any(name not in sample for sample in samples):
            raise UserError(f'The graph takes {name} of every sample, which the pipeline of the config does not set.')
        rows = [torch.as_tensor(sample.get(name)).cpu() for sample in samples]
        longest = max(len(row) for row in rows)
        # The first row again and again: a choice among rows is the same.
        padded = [torch.cat((row, row[:1].expand(longest - len(row), *row.shape[1:]))) for row in rows]
        tensors[name] = torch.stack(padded)
    return tensors


def give_predictions(outputs: Mapping[str, Tensor], counts: Mapping[str, str], samples: Sequence[Any]) -> list[Any]:
    """Set in every sample what a graph gave for it, without padding.

    Args:
        outputs: Tensors by name, batch first.
        counts: See :class:`mmopt.structures.complete_graph.CompleteGraph`.
        samples: One per entry of the batch.

    Returns:
        The samples.
    """
    for index, sample in enumerate(samples):
        for name, tensor in outputs.items():
            if name in counts.values():
                continue
            value = tensor[index]
            if name in counts:
                value = value[: int(outputs[counts[name]][index])]
            sample.set_field(value, name)
    return list(samples)
