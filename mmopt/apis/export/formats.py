"""The files that a model is exported to: how each is written, and run again.

A graph is a module that maps tensors to a tuple of tensors.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmopt.utils.errors import UserError

__all__ = ['require_onnx', 'tracing', 'write_onnx', 'write_pt2']


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


def _has_recurrence(module: nn.Module) -> bool:
    return any(isinstance(part, nn.RNNBase) for part in module.modules())


def write_onnx(
    graph: nn.Module, tensors: tuple[Tensor, ...], names: list[str], outputs: list[str], out: Path, facts: dict
) -> Callable[[], list[np.ndarray]]:
    """Write ONNX; return what runs the file by onnxruntime."""
    import onnx
    import onnxruntime

    # The new exporter unrolls a recurrent layer into one node per frame; the old one writes ONNX's own LSTM.
    is_new = not _has_recurrence(graph)
    options: dict[str, Any] = dict(input_names=names, output_names=outputs, verbose=False)
    options |= dict(dynamo=True, external_data=False) if is_new else dict(dynamo=False, opset_version=17)
    # The exporter warns of operators of torchvision, which mmopt does not use.
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        torch.onnx.export(graph, tensors, str(out), **options)
    finally:
        logger.setLevel(level)
    model = onnx.load(str(out))
    onnx.helper.set_model_props(model, {'mmopt': json.dumps(facts)})
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = torch.get_num_threads()  # as the model has, so that timings compare
    session = onnxruntime.InferenceSession(str(out), session_options, providers=['CPUExecutionProvider'])
    # An input that no output depends on is not part of the graph.
    used = {item.name for item in session.get_inputs()}
    feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True) if name in used}
    return lambda: session.run(None, feed)


def write_pt2(
    graph: nn.Module, tensors: tuple[Tensor, ...], names: list[str], outputs: list[str], out: Path, facts: dict
) -> Callable[[], tuple[Tensor, ...]]:
    """Write torch.export's archive; return what runs the file."""
    program = torch.export.export(graph, tensors)
    facts = facts | dict(inputs=names, outputs=outputs)
    torch.export.save(program, str(out), extra_files={'mmopt.json': json.dumps(facts)})
    loaded = torch.export.load(str(out)).module()
    return lambda: loaded(*tensors)
