"""The safetensors format: a JSON header and the tensors' bytes, nothing that could run code.

Format: https://huggingface.co/docs/safetensors#format. It is so small that no package is needed for it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

__all__ = ['read_tensor_file', 'write_tensor_file']

_CODES = {
    torch.float64: 'F64',
    torch.float32: 'F32',
    torch.float16: 'F16',
    torch.bfloat16: 'BF16',
    torch.int64: 'I64',
    torch.int32: 'I32',
    torch.int16: 'I16',
    torch.int8: 'I8',
    torch.uint8: 'U8',
    torch.bool: 'BOOL',
}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


def write_tensor_file(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, sorted by dtype width and name, so that each is aligned to its own size.

    Args:
        tensors: What to write; tensors that share memory are written once each.
        metadata: Texts for the header.

    Raises:
        ValueError: If the format has no code for a dtype.
    """
    header: dict[str, Any] = {'__metadata__': dict(metadata)}
    offset = 0
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _CODES:
            raise ValueError(f'safetensors has no {tensor.dtype}, the type of {name}; known: {sorted(_DTYPES)}.')
        stop = offset + tensor.numel() * tensor.element_size()
        header[name] = dict(dtype=_CODES[tensor.dtype], shape=list(tensor.shape), data_offsets=[offset, stop])
        offset = stop
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    file.write(len(text).to_bytes(8, 'little') + text)
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().flatten()
        if flat.numel():
            file.write(flat.view(torch.uint8).numpy().data)


def read_tensor_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of tensors.

    Returns:
        The tensors and the header's texts.

    Raises:
        ValueError: If the file is cut off, or its header is none.
    """
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if not 2 <= length <= path.stat().st_size - 8:
            raise ValueError(f'{length} bytes of header in a file of {path.stat().st_size}')
        header = json.loads(file.read(length))
        body = np.fromfile(file, dtype=np.uint8)
    metadata = header.pop('__metadata__', {})
    tensors = {}
    for name, entry in header.items():
        start, stop = entry['data_offsets']
        if not 0 <= start <= stop <= len(body):
            raise ValueError(f'{name} ends at byte {stop} of {len(body)}')
        # Filled from the bytes, and not a view of them: a view of no bytes has no other type.
        tensor = torch.empty(entry['shape'], dtype=_DTYPES[entry['dtype']])
        if tensor.numel():
            tensor.flatten().view(torch.uint8).copy_(torch.from_numpy(body[start:stop]))
        tensors[name] = tensor
    return tensors, metadata
