"""Opening exported graphs; every reason why one cannot be used is one line with a remedy."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmopt.apis.export.formats import open_session
from mmopt.utils.errors import UserError

__all__ = ['open_onnx', 'open_pt2']

Run = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]
"""Maps inputs by name to the outputs in their order."""

_FORMAT = 1
_REMEDY = 'export it again with tools/export.py'


def open_onnx(path: Path, device: str) -> tuple[Run, dict[str, Any], torch.device]:
    """Open an ONNX file: what runs it, what it says of itself, and where it runs."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f'{path} needs onnxruntime, which is not installed: pip install -c requirements/constraints.txt '
            "-e '.[export]', or pip install onnxruntime."
        ) from error
    on_gpu = device != 'cpu' and 'CUDAExecutionProvider' in onnxruntime.get_available_providers()
    if device.startswith('cuda') and not on_gpu:
        raise UserError(f'--device {device}: this onnxruntime has no CUDA; pip install onnxruntime-gpu, or use cpu.')
    try:
        session = open_session(path, on_gpu=on_gpu)
    except Exception as error:  # onnxruntime's own classes, which differ from version to version
        raise UserError(_why_not_opened(path, str(error), onnxruntime.__version__)) from error
    facts = _read_facts(path, session.get_modelmeta().custom_metadata_map.get('mmopt'))
    types = {item.name: item.type for item in session.get_inputs()}
    gives = [item.name for item in session.get_outputs()]
    if not set(types) <= set(facts['inputs']) or gives != list(facts['outputs']):
        raise UserError(
            f'{path}: its metadata describes another graph (inputs {", ".join(facts["inputs"])}, the graph has '
            f'{", ".join(types)}): {_REMEDY}.'
        )

    def run(tensors: Mapping[str, Tensor]) -> list[Tensor]:
        try:
            given = session.run(None, {name: tensors[name].numpy() for name in types})
        except Exception as error:
            raise UserError(f'{path}: onnxruntime failed: {_first_line(error)}') from error
        return [torch.from_numpy(output) for output in given]

    return run, facts, torch.device('cuda' if on_gpu else 'cpu')


def _why_not_opened(path: Path, reason: str, version: str) -> str:
    lowered = reason.lower()
    if 'opset' in lowered or 'ir_version' in lowered or 'ir version' in lowered:
        return (
            f'{path} is newer than onnxruntime {version} can read: pip install --upgrade onnxruntime. It says: '
            f'{_first_line(reason)}'
        )
    if 'custom' in lowered or 'is not a registered function/op' in lowered:
        return f'{path} has an operator that onnxruntime {version} does not know: {_first_line(reason)}'
    return f'{path} is no ONNX file that onnxruntime {version} can read ({_first_line(reason)}): {_REMEDY}.'


def open_pt2(path: Path, device: str) -> tuple[Run, dict[str, Any], torch.device]:
    """Open an archive of torch.export: what runs it, what it says of itself, and where it runs."""
    texts = {'mmopt.json': ''}
    target = torch.device('cuda' if device == 'auto' and torch.cuda.is_available() else device.replace('auto', 'cpu'))
    try:
        program = torch.export.load(str(path), extra_files=texts)
        if target.type != 'cpu':
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, target)
        module = program.module()
    except Exception as error:  # of zip files, of json, of torch's own
        raise UserError(
            f'{path} is no archive of torch.export that torch {torch.__version__} can read ({_first_line(error)}): '
            f'{_REMEDY}.'
        ) from error
    facts = _read_facts(path, texts['mmopt.json'])

    def run(tensors: Mapping[str, Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            return [output.cpu() for output in module(*(tensors[name].to(target) for name in facts['inputs']))]

    return run, facts, target


def _read_facts(path: Path, text: str | bytes | None) -> dict[str, Any]:
    if not text:
        raise UserError(
            f'{path} has no metadata of mmopt, so what it takes and gives is not known. Export the model with '
            'tools/export.py.'
        )
    try:
        facts = json.loads(text)
        number = facts.get('format')
    except (ValueError, AttributeError) as error:
        raise UserError(f'{path}: its metadata cannot be read ({error}): {_REMEDY}.') from error
    if number is None or 'predict' not in facts:
        raise UserError(
            f'{path} holds the bare network without decoding, as --raw and older versions write it: {_REMEDY}, '
            'without --raw.'
        )
    if number > _FORMAT:
        raise UserError(f'{path} was made by mmopt {facts.get("mmopt")}, which is newer than this one: upgrade mmopt.')
    if not facts['predict'].get('test_dataloader', {}).get('dataset'):
        raise UserError(f'{path} holds no pipeline, since its config has no test data set: add one, and {_REMEDY}.')
    return facts


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ' '.join(lines[0].split())[:300].rstrip('.')
