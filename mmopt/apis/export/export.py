"""Turn the network of a model into a graph (ONNX, torch.export's archive), checked against the model.

The graph maps the model's inputs (normalized by its data preprocessor) to what mode ``'tensor'`` gives, for one batch
size. A model whose samples decide what is computed (camera matrices) has a method ``for_export(data_samples)``, which
binds them. :mod:`mmopt.apis.export.complete` makes graphs to the final result.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmopt.apis.export.formats import require_onnx, tracing, write_onnx, write_pt2
from mmopt.apis.export.model import input_facts, load_model
from mmopt.apis.run.facts import build_dataset, collate_of
from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['Exported', 'check_format', 'export_graph', 'export_model']

_SUFFIXES = ('.onnx', '.pt2')
_TOLERANCE = 1e-3
"""Largest deviation of an output, relative to its largest value, in float32: kernels sum in other orders."""


@dataclass(frozen=True)
class Exported:
    """What an export gave.

    Attributes:
        inputs: Shape of every input.
        outputs: Shape of every output.
        deviation: Largest deviation from the model, relative to the largest value of an output.
        run_model: Runs the model on the batch that it was exported with, without gradients.
        run_graph: Runs the file on the same batch, on the same processor.
        notes: Why an axis that should have any length has one.
        open_axes: Input or output -> axis -> name, of axes that may have any length.
    """

    path: Path
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    deviation: float
    run_model: Callable[[], Any] = field(repr=False)
    run_graph: Callable[[], Any] = field(repr=False)
    notes: tuple[str, ...] = ()
    open_axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Inputs and outputs with their shapes; an axis that may have any length by its name."""
        sides = []
        for part in (self.inputs, self.outputs):
            shapes = []
            for name, shape in part.items():
                axes = self.open_axes.get(name, {})
                shapes.append(f'{name} {"x".join(str(axes.get(axis, length)) for axis, length in enumerate(shape))}')
            sides.append(', '.join(shapes))
        return ' -> '.join(sides)


class _Graph(nn.Module):
    """A model as a function of tensors that gives a tuple of tensors."""

    def __init__(self, module: nn.Module, keys: tuple[str, ...] | None, *, takes_mode: bool) -> None:
        super().__init__()
        self.module = module
        self.keys = keys
        self.takes_mode = takes_mode

    def raw(self, *tensors: Tensor) -> Any:
        inputs = tensors[0] if self.keys is None else dict(zip(self.keys, tensors, strict=True))
        return self.module(inputs, None, 'tensor') if self.takes_mode else self.module(inputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor for _, tensor in _named(self.raw(*tensors), 'output'))


def _named(outputs: Any, name: str) -> list[tuple[str, Tensor]]:
    """Flatten nested outputs to names and tensors."""
    if isinstance(outputs, Tensor):
        return [(name, outputs)]
    if isinstance(outputs, Mapping):
        return [pair for key, value in outputs.items() for pair in _named(value, str(key))]
    if isinstance(outputs, list | tuple):
        return [pair for index, value in enumerate(outputs) for pair in _named(value, f'{name}_{index}')]
    raise UserError(f'The model gives a {type(outputs).__name__} in mode tensor, which no graph can: tensors only.')


def export_model(
    cfg: Config,
    checkpoint: str | Path | None,
    out: str | Path,
    *,
    batch_size: int = 1,
    input_size: tuple[int, int] | None = None,
    allow_pickle: bool = False,
) -> Exported:
    """Export a model on the CPU in float32, run the graph, and compare it with the model.

    Args:
        cfg: A lowered config; its ``allow_partial`` and ``strip_prefix`` say how weights may fit.
        checkpoint: The weights; None exports those the model is built with.
        out: The file to make, ``.onnx`` or ``.pt2``.
        batch_size: Batch of the graph.
        input_size: Height and width of random images, for models that need images alone; None takes the first samples
            of the test set.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.

    Returns:
        What was made, and how it compares.

    Raises:
        UserError: If the format is unknown, onnxruntime is missing, the model cannot be traced, or the graph deviates.
    """
    check_format(Path(out))
    model = load_model(cfg, checkpoint, allow_pickle=allow_pickle)
    inputs, samples = _example(cfg, model, batch_size, input_size)
    return export_graph(model, inputs, samples, out, facts=input_facts(cfg, model))


def export_graph(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Tensor],
    samples: Any,
    out: str | Path,
    *,
    facts: Mapping[str, Any] | None = None,
) -> Exported:
    """Export a model in evaluation mode for inputs of these shapes; see :func:`export_model`.

    The file appears when it has been compared: one that cannot be run or deviates is not left behind, and an older one
    of its name stays.

    Args:
        model: The model, on the CPU.
        inputs: What its data preprocessor gives.
        samples: The samples of the batch; None where it needs none.
        out: The file to make.
        facts: Plain values to write into the file.

    Returns:
        What was made, and how it compares.

    Raises:
        UserError: See :func:`export_model`.
    """
    out = Path(out)
    check_format(out)
    graph, names, tensors = _graph(model, inputs, samples)
    with torch.no_grad():
        pairs = _named(graph.raw(*tensors), 'output')
    output_names, expected = [name for name, _ in pairs], tuple(tensor for _, tensor in pairs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write = write_onnx if out.suffix == '.onnx' else write_pt2
    partial = out.with_name(f'.{out.stem}.partial{out.suffix}')
    try:
        with tracing(type(model).__name__, out.suffix), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')  # of the exporters: about themselves, not about the model
            run = write(graph, tensors, names, output_names, partial, dict(facts or {}))
            outputs = run(*tensors)
        deviation = _deviation(outputs, expected, output_names)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(
        out,
        {name: tuple(tensor.shape) for name, tensor in zip(names, tensors, strict=True)},
        {name: tuple(tensor.shape) for name, tensor in pairs},
        deviation,
        torch.no_grad()(lambda: graph(*tensors)),
        torch.no_grad()(lambda: run(*tensors)),
    )


def check_format(out: Path) -> None:
    """Raise a UserError if no graph can be written to such a file."""
    if out.suffix not in _SUFFIXES:
        raise UserError(f'--out {out}: the suffix says the format, so it must be one of {", ".join(_SUFFIXES)}.')
    if out.suffix == '.onnx':
        require_onnx()


def _example(cfg: Config, model: nn.Module, batch_size: int, input_size: tuple[int, int] | None) -> tuple[Any, Any]:
    """Make a batch as the model sees it, and its samples (None for random images)."""
    if batch_size < 1:
        raise UserError(f'--batch must be at least 1, got {batch_size}.')
    if input_size is not None:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(batch_size, 3, *input_size, generator=generator), None
    if not cfg.get('test_dataloader'):
        raise UserError(
            f'{cfg.filename}: no {spelled("test_dataloader.dataset")} to take an input from; give --input-size '
            'HEIGHT WIDTH.'
        )
    dataset = build_dataset(cfg, 'test_dataloader')
    batch = collate_of(cfg.test_dataloader)([dataset[index % len(dataset)] for index in range(batch_size)])
    preprocessor: Any = model.data_preprocessor
    batch = preprocessor(batch, False)
    return batch['inputs'], batch['data_samples']


def _graph(model: nn.Module, inputs: Any, samples: Any) -> tuple[_Graph, list[str], tuple[Tensor, ...]]:
    bind: Callable | None = getattr(model, 'for_export', None)
    if bind is not None and samples is None:
        raise UserError(f'{type(model).__name__} needs the samples of its data, not random images: drop --input-size.')
    module = model if bind is None else bind(samples).eval()
    keys = tuple(inputs) if isinstance(inputs, Mapping) else None
    tensors = (inputs,) if keys is None else tuple(inputs.values())
    if not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise UserError('The samples of the batch have unequal sizes: use --batch 1.')
    return _Graph(module, keys, takes_mode=bind is None).eval(), list(keys or ('inputs',)), tensors


def _deviation(got: Any, expected: tuple[Tensor, ...], names: list[str]) -> float:
    worst = 0.0
    for name, value, want in zip(names, got, expected, strict=True):
        value = torch.as_tensor(value)
        if value.shape != want.shape:
            raise UserError(f'The graph gives {name} of shape {tuple(value.shape)}, the model {tuple(want.shape)}.')
        deviation = float((value.double() - want.double()).abs().max() / want.double().abs().max().clamp(min=1e-12))
        if not deviation <= _TOLERANCE:
            raise UserError(
                f'The graph deviates from the model: {name} by {deviation:.2g} of its largest value, {_TOLERANCE:g} is '
                'allowed. Do not use it.'
            )
        worst = max(worst, deviation)
    return worst
