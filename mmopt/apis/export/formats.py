"""The files that a model is exported to: how each is written, and run again.

A graph is a module that maps tensors to a tuple of tensors.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmopt.apis.export.onnx_operators import onnx_lstms, translations
from mmopt.utils.errors import UserError

__all__ = ['open_session', 'require_onnx', 'tracing', 'write_onnx', 'write_pt2']

Run = Callable[..., Any]
"""Takes the tensors of the inputs, gives those of the outputs in their order."""


def require_onnx() -> None:
    """Raise a UserError if ONNX cannot be written or run here."""
    try:
        import onnx  # noqa: F401  only whether it is there
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'ONNX needs {error.name}, which is not installed: pip install -c requirements/constraints.txt '
            "-e '.[export]'. Without it, --out model.pt2 writes torch.export's archive."
        ) from error


@contextmanager
def tracing(name: str, suffix: str) -> Iterator[None]:
    """Turn what an exporter or its runtime raises into one line.

    To be entered when the model has just run as it is: what fails after that is a limit of the exporter, whatever its
    type (they raise all kinds, and their own hide the cause). A full disk keeps its own error.

    Args:
        name: The model's.
        suffix: The format's.

    Yields:
        None: What is exported inside.

    Raises:
        UserError: For any other error.
    """
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, OSError):
            raise cause from error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        other = '.pt2' if suffix == '.onnx' else '.onnx'
        raise UserError(f'{name} cannot be exported to {suffix}: {reason.rstrip(".")}. {other} may do.') from error


Axes = Mapping[str, Mapping[int, str]]
"""Name of an input -> axis -> name, of axes that may have any length."""


def _dims(names: Sequence[str], axes: Axes) -> Any:
    """Return what torch.export calls dynamic shapes, for a module that takes ``*tensors``."""
    if not any(axes.values()):
        return None
    dims = {name: torch.export.Dim(name) for part in axes.values() for name in part.values()}
    return (tuple({axis: dims[name] for axis, name in axes.get(key, {}).items()} for key in names),)


def write_onnx(
    graph: nn.Module,
    tensors: tuple[Tensor, ...],
    names: list[str],
    outputs: list[str],
    out: Path,
    facts: dict,
    axes: Axes | None = None,
) -> Run:
    """Write ONNX; return what runs the file by onnxruntime."""
    import onnx

    options: dict[str, Any] = dict(input_names=names, output_names=outputs, verbose=False)
    lstms = onnx_lstms(graph)
    try:
        # The new exporter unrolls other recurrent layers into one node per frame; the old one has an operator.
        if any(isinstance(part, nn.RNNBase) and not _is_ours(part, lstms) for part in graph.modules()):
            options |= dict(dynamo=False, opset_version=17)
        else:
            options |= dict(dynamo=True, external_data=False, custom_translation_table=translations())
            options |= dict(dynamic_shapes=_dims(names, axes or {}))
        with _quiet('torch.onnx'):
            torch.onnx.export(graph, tensors, str(out), **options)
    finally:
        for owner, name, lstm in lstms:
            setattr(owner, name, lstm)
    model = onnx.load(str(out))
    onnx.helper.set_model_props(model, {'mmopt': json.dumps(facts)})
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
    session = open_session(out)
    # An input that no output depends on is not part of the graph.
    used = {item.name for item in session.get_inputs()}

    def run(*values: Tensor) -> list[np.ndarray]:
        feed = {name: value.numpy() for name, value in zip(names, values, strict=True) if name in used}
        return session.run(None, feed)

    return run


def _is_ours(part: nn.Module, lstms: Sequence[tuple[nn.Module, str, nn.LSTM]]) -> bool:
    return any(part is lstm for _, _, lstm in lstms)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep the exporter from warning of operators of torchvision, which mmopt does not use."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def open_session(path: Path, *, on_gpu: bool = False) -> Any:
    """Open a file in onnxruntime, with as many threads as torch has, so that timings compare."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: it warns of what it folds itself
    providers = ['CUDAExecutionProvider'] if on_gpu else []
    return onnxruntime.InferenceSession(str(path), options, providers=[*providers, 'CPUExecutionProvider'])


def write_pt2(
    graph: nn.Module,
    tensors: tuple[Tensor, ...],
    names: list[str],
    outputs: list[str],
    out: Path,
    facts: dict,
    axes: Axes | None = None,
) -> Run:
    """Write torch.export's archive; return what runs the file."""
    program = torch.export.export(
        graph,
        tensors,
        dynamic_shapes=_dims(names, axes or {}),
        # As torch's exporter of ONNX: what holds for these lengths is asserted for others, not asked of all.
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    torch.export.save(program, str(out), extra_files={'mmopt.json': json.dumps(facts)})
    return torch.export.load(str(out)).module()
