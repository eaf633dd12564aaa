import io

import pytest
import torch

from mmopt.engine.checkpoint_io import CorruptCheckpointError, load
from mmopt.engine.checkpoint_io.tensor_file import read_tensor_file, write_tensor_file


def test_the_bytes_are_those_of_the_format():
    file = io.BytesIO()
    write_tensor_file(file, dict(a=torch.tensor([1, 2], dtype=torch.int16)), {})
    header = b'{"__metadata__":{},"a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}} '
    header = header.strip() + b' ' * (-len(header.strip()) % 8)
    assert file.getvalue() == len(header).to_bytes(8, 'little') + header + b'\1\0\2\0'


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_every_type_comes_back(tmp_path, dtype):
    tensors = dict(
        matrix=torch.arange(6).view(2, 3).t().to(dtype),
        scalar=torch.tensor(1).to(dtype),
        empty=torch.zeros(0, 3, dtype=dtype),
        other=torch.randn(3),
    )
    with (tmp_path / 'a.safetensors').open('wb') as file:
        write_tensor_file(file, tensors, dict(key='text'))
    loaded, metadata = read_tensor_file(tmp_path / 'a.safetensors')
    assert metadata == dict(key='text')
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


def test_a_type_without_a_code_is_named():
    with pytest.raises(ValueError, match=r'safetensors has no torch.complex64, the type of a'):
        write_tensor_file(io.BytesIO(), dict(a=torch.zeros(1, dtype=torch.complex64)), {})


@pytest.mark.parametrize('tenth', range(10))
def test_a_cut_file_is_detected(tmp_path, tenth):
    path = tmp_path / 'a.safetensors'
    with path.open('wb') as file:
        write_tensor_file(file, dict(a=torch.zeros(100)), {})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenth // 10])
    with pytest.raises(CorruptCheckpointError, match=r'a\.safetensors: (cannot be read|the file is empty)'):
        load(path)
