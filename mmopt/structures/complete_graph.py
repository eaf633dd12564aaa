"""What a model offers so that it leaves Python as one graph, from what a data set packs to the final result.

A model takes part with a method ``complete_graph(data_samples) -> CompleteGraph``, given samples of its test set; those
who export ask nothing else of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

__all__ = ['CompleteGraph', 'preprocess']


@dataclass(frozen=True)
class CompleteGraph:
    """A model as a function of tensors alone.

    Attributes:
        module: Called with what collated samples have as ``inputs`` (a tensor, or a dict of tensors), and with fields
            of the samples, stacked, in the order of ``fields``. Gives tensors by name: fields that a prediction sets
            in every sample, batch first. It reads no value on the host.
        fields: Fields of the samples that it takes. One that has another length in each sample is padded with its
            first row.
        counts: Output that is padded to one length -> output that says how many of its rows are results. The latter
            is no field of a sample.
        axes: Name of an input -> axis -> name of an axis that may have another length in each call, beside the batch.
            An input that is no dict is called ``inputs``.
        zeros: Input -> index of a value of each sample that must be 0: the graph takes it for that.
        units: What the numbers of an output mean, by its name: for those who have the file alone.
    """

    module: nn.Module
    fields: tuple[str, ...] = ()
    counts: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    zeros: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def preprocess(model: nn.Module, inputs: Tensor | dict[str, Tensor]) -> Any:
    """Return what a model's data preprocessor makes of inputs without samples."""
    preprocessor: Any = model.data_preprocessor
    return preprocessor(dict(inputs=inputs, data_samples=None), False)['inputs']
