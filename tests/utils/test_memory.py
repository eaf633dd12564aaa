"""Which errors are a device without memory, told from the words and from what the device says."""

import pytest
import torch

from mmopt.apis.cli.errors import explain
from mmopt.engine.micro_batch.rollback import StepSnapshot
from mmopt.engine.switches.offload import Offload
from mmopt.utils import memory
from mmopt.utils.memory import GIB, HostMemoryError, is_out_of_memory, page_locked
from mmopt.utils.transfer import host_buffer

AMBIGUOUS = RuntimeError('cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a layout.')


@pytest.fixture
def device(monkeypatch) -> dict:
    """A GPU with 100 GiB left, whose allocator has never failed."""
    state = dict(free=100 * GIB, num_ooms=0)
    monkeypatch.setattr(memory, '_num_failed', 0)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (state['free'], 140 * GIB))
    monkeypatch.setattr(torch.cuda, 'memory_stats', lambda: dict(num_ooms=state['num_ooms']))
    return state


@pytest.mark.parametrize('word', memory._AMBIGUOUS_FAILURES)
def test_words_that_can_mean_something_else_count_where_the_device_is_full(device, word):
    error = RuntimeError(f'cuDNN error: {word}')
    assert not is_out_of_memory(error)
    device['free'] = 100 * 1024**2
    assert is_out_of_memory(error)


def test_a_workspace_that_the_allocator_could_not_give_counts_once(device):
    device['num_ooms'] = 1  # a card that may take less than there is has memory left, and the allocator has none
    assert is_out_of_memory(AMBIGUOUS)
    assert not is_out_of_memory(AMBIGUOUS)
    device['num_ooms'] = 2
    assert is_out_of_memory(AMBIGUOUS)


def test_words_of_memory_need_no_second_look(device):
    assert is_out_of_memory(RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'))
    assert is_out_of_memory(torch.OutOfMemoryError('CUDA out of memory.'))


@pytest.mark.usefixtures('device')
def test_an_error_with_memory_left_keeps_its_words_and_gets_the_remedies_of_kernels():
    text = explain(AMBIGUOUS)
    assert text.startswith(str(AMBIGUOUS))
    assert 'There was memory left' in text
    assert '--precision fp32' in text
    assert 'micro_batch' not in text


def test_page_locked_memory_is_the_hosts_whatever_cuda_calls_it():
    said = r'no 3 MiB of page-locked memory left .*error: out of memory\). Do it'
    with pytest.raises(HostMemoryError, match=said), page_locked(3 * 1024**2, 'Do it.'):
        raise RuntimeError('CUDA error: out of memory\nCUDA kernel errors might be reported later')
    with pytest.raises(RuntimeError, match='device-side'), page_locked(1, ''):
        raise RuntimeError('device-side assert triggered')
    assert not is_out_of_memory(HostMemoryError('no page-locked memory'))
    assert not is_out_of_memory(RuntimeError('Caught AcceleratorError in pin memory thread\nCUDA error: out of memory'))


def test_everybody_who_locks_pages_says_whose_memory_is_missing(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('CUDA error: out of memory')

    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    module = torch.nn.Module()
    module.param = param
    snapshot = StepSnapshot(module)
    monkeypatch.setattr(torch, 'empty', fail)
    monkeypatch.setattr(torch, 'empty_like', fail)
    for call in (
        lambda: host_buffer(8, torch.device('cuda')),
        lambda: Offload(0)._pack(torch.ones(4)),
        snapshot.take,
    ):
        with pytest.raises(HostMemoryError):
            call()
