"""Export a model as one graph from what its data set packs (uint8 pictures) to the final result, and check the file.

A model takes part with ``complete_graph``, see :mod:`mmopt.structures.complete_graph`; what it is asked for is all that
is known of it here. The file says what its inputs and outputs are, and holds the test pipeline, so that
:mod:`mmopt.apis.predict.exported.model` predicts with it alone.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmopt.apis.export.compare import largest_deviation
from mmopt.apis.export.example import example_batch, fold_normalization
from mmopt.apis.export.export import Exported, check_format
from mmopt.apis.export.facts import file_facts, trained_on
from mmopt.apis.export.formats import Axes, tracing, write_onnx, write_pt2
from mmopt.apis.export.model import load_model
from mmopt.apis.export.tensors import INPUTS, give_predictions, graph_inputs
from mmopt.registry import MODELS
from mmopt.structures import DataSample, split_batch
from mmopt.structures.complete_graph import CompleteGraph
from mmopt.utils.errors import UserError

__all__ = ['export_complete', 'offers_graph']

_BATCH = 'batch'


class _Whole(nn.Module):
    """A complete graph as a function of tensors that gives a tuple of tensors."""

    def __init__(self, graph: CompleteGraph, keys: Sequence[str]) -> None:
        super().__init__()
        self.module = graph.module
        self.keys = list(keys)
        self.names: list[str] = []

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(self.keys)
        inputs = tensors[0] if self.keys == [INPUTS] else dict(zip(self.keys, tensors[:count], strict=True))
        outputs = self.module(inputs, *tensors[count:])
        self.names = list(outputs)
        return tuple(outputs.values())


def offers_graph(cfg: Config) -> bool:
    """Tell whether the model of a config offers a graph to the final result."""
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    kind = cfg.model.get('type')
    return hasattr(MODELS.get(kind) if isinstance(kind, str) else kind, 'complete_graph')


def export_complete(
    cfg: Config,
    checkpoint: str | Path | None,
    out: str | Path,
    *,
    batch_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    allow_pickle: bool = False,
) -> Exported:
    """Export a model on the CPU in float32, run the graph, and compare it with the model's own predictions.

    Args:
        cfg: A lowered config; its ``allow_partial`` and ``strip_prefix`` say how weights may fit.
        checkpoint: The weights; None exports those the model is built with.
        out: The file to make, ``.onnx`` or ``.pt2``.
        batch_size: The one batch size of the graph; None: any, where the exporter can.
        input_size: Height and width of random images; None takes samples of the test set, or, without its files, an
            example that the data set makes of its config.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.

    Returns:
        What was made, and how it compares.

    Raises:
        UserError: If the format is unknown, onnxruntime is missing, the model offers no graph or cannot be traced, or
            the graph deviates.
    """
    out = Path(out)
    check_format(out)
    if batch_size is not None and batch_size < 1:
        raise UserError(f'--batch must be at least 1, got {batch_size}.')
    model: Any = load_model(cfg, checkpoint, allow_pickle=allow_pickle)
    if not hasattr(model, 'complete_graph'):
        raise UserError(f'{type(model).__name__} has no method complete_graph: only its network can be exported.')
    section = fold_normalization(cfg, model)
    # An axis of one sample would be taken for a constant.
    batch, classes = example_batch(cfg, section, batch_size or 2, input_size)
    trained = trained_on(checkpoint, allow_pickle=allow_pickle)
    try:
        graph: CompleteGraph = model.complete_graph(batch['data_samples'])
    except ValueError as error:
        raise UserError(str(error)) from error
    tensors = graph_inputs(batch, graph.fields)
    facts = file_facts(cfg, checkpoint, model, section, trained, list(classes or trained.get('classes') or []))
    axes = {name: dict(graph.axes.get(name, {})) for name in tensors}
    if batch_size is None:
        axes = {name: {0: _BATCH} | part for name, part in axes.items()}
    return _write(model, graph, batch, tensors, axes, out, facts)


def _write(
    model: Any,
    graph: CompleteGraph,
    batch: dict[str, Any],
    tensors: dict[str, Tensor],
    axes: Axes,
    out: Path,
    facts: dict[str, Any],
) -> Exported:
    whole = _Whole(graph, [name for name in tensors if name not in graph.fields]).eval()
    values = tuple(tensors.values())
    predicted = copy.deepcopy(batch)
    with torch.no_grad():
        samples = model.test_step(predicted)
        made = whole(*values)
    names = whole.names
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f'.{out.stem}.partial{out.suffix}')
    write = write_onnx if out.suffix == '.onnx' else write_pt2
    notes: list[str] = []
    try:
        for chosen in _choices(axes):
            if _opens_batch(axes) and not _opens_batch(chosen):
                # A graph of one sample serves batches of any size one by one.
                tensors = {name: tensor[:1] for name, tensor in tensors.items()}
                values, made, samples = tuple(tensors.values()), tuple(tensor[:1] for tensor in made), samples[:1]
                predicted = split_batch(predicted, 1)[0]
            text = dict(facts, **_shapes(tensors, dict(zip(names, made, strict=True)), graph, chosen), notes=notes)
            try:
                with tracing(type(model).__name__, out.suffix), warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter('ignore')  # of the exporters: about themselves, not about the model
                    run = write(whole, values, list(tensors), names, partial, text, chosen)
                    deviation = _check(run, values, made, names, graph, samples, chosen)
                break
            except UserError as error:
                if not any(chosen.values()):
                    raise
                notes.append(_note(chosen, error))
        partial.replace(out)
        is_open = _opens_batch(chosen)
    finally:
        partial.unlink(missing_ok=True)
    return Exported(
        out,
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        {name: tuple(tensor.shape) for name, tensor in zip(names, made, strict=True)},
        deviation,
        torch.no_grad()(lambda: model.test_step(predicted)),
        torch.no_grad()(lambda: run(*values)),
        tuple(notes),
        {name: part for name, part in chosen.items() if part} | {name: {0: _BATCH} for name in names if is_open},
    )


def _choices(axes: Axes) -> list[Axes]:
    """Return the axes to leave open: all, the batch alone, none."""
    batch_alone = {name: {axis: text for axis, text in part.items() if text == _BATCH} for name, part in axes.items()}
    choices: list[Axes] = []
    for choice in (axes, batch_alone, {name: {} for name in axes}):
        if choice not in choices:
            choices.append(choice)
    return choices


def _opens_batch(axes: Axes) -> bool:
    return any(_BATCH in part.values() for part in axes.values())


def _note(chosen: Axes, error: UserError) -> str:
    open_axes = ', '.join(dict.fromkeys(text for part in chosen.values() for text in part.values()))
    return f'{open_axes}: not left open together, since {error}'


def _shapes(
    tensors: Mapping[str, Tensor], outputs: Mapping[str, Tensor], graph: CompleteGraph, axes: Axes
) -> dict[str, Any]:
    def describe(name: str, tensor: Tensor) -> dict[str, Any]:
        shape = [axes.get(name, {}).get(axis, length) for axis, length in enumerate(tensor.shape)]
        return dict(type=str(tensor.dtype).removeprefix('torch.'), shape=shape)

    return dict(
        inputs={
            name: describe(name, tensor)
            | dict(source='sample' if name in graph.fields else 'inputs')
            | (dict(zero=list(graph.zeros[name])) if name in graph.zeros else {})
            for name, tensor in tensors.items()
        },
        outputs={
            name: dict(
                type=str(tensor.dtype).removeprefix('torch.'),
                meaning=graph.units.get(name, ''),
                counted_by=graph.counts.get(name),
            )
            for name, tensor in outputs.items()
        },
    )


def _check(
    run: Any,
    values: tuple[Tensor, ...],
    made: tuple[Tensor, ...],
    names: Sequence[str],
    graph: CompleteGraph,
    samples: Sequence[Any],
    axes: Axes,
) -> float:
    """Compare the file with the model's predictions, and where the batch is open with the graph on one sample."""
    got = dict(zip(names, map(torch.as_tensor, run(*values)), strict=True))
    given = give_predictions(got, graph.counts, [DataSample() for _ in samples])
    computed = give_predictions(dict(zip(names, made, strict=True)), graph.counts, [DataSample() for _ in samples])
    kept = [name for name in names if name not in graph.counts.values()]
    worst = 0.0
    for own, sample, eager in zip(given, samples, computed, strict=True):
        # What a prediction does not set is compared with the graph as torch runs it.
        want = {name: sample.get(name) if name in sample else eager.get(name) for name in kept}
        worst = max(worst, largest_deviation({name: own.get(name) for name in kept}, want, graph.counts))
    if _opens_batch(axes):
        one = tuple(value[:1] for value in values)
        first = dict(zip(names, map(torch.as_tensor, run(*one)), strict=True))
        want = {name: tensor[:1] for name, tensor in got.items()}
        (alone,), (together,) = (give_predictions(part, graph.counts, [DataSample()]) for part in (first, want))
        largest_deviation({k: alone.get(k) for k in kept}, {k: together.get(k) for k in kept}, graph.counts)
    return worst
