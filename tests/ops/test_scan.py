import gc

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from mmopt.ops import scan
from mmopt.ops.scan import linear_scan, selective_scan


def sequential(decay, drive):
    state, states = torch.zeros_like(drive[:, 0]), []
    for t in range(drive.shape[1]):
        state = decay[:, t] * state + drive[:, t]
        states.append(state)
    return torch.stack(states, dim=1)


def sequential_mamba(input_BLD, step_BLD, decay_DN, write_BLN, read_BLN, skip_D):
    state, outputs = input_BLD.new_zeros(len(input_BLD), *decay_DN.shape), []
    for t in range(input_BLD.shape[1]):
        step = step_BLD[:, t, :, None]
        state = torch.exp(step * decay_DN) * state + step * write_BLN[:, t, None] * input_BLD[:, t, :, None]
        outputs.append((state * read_BLN[:, t, None]).sum(-1) + skip_D * input_BLD[:, t])
    return torch.stack(outputs, dim=1)


def mamba_inputs(length, batch=2, channels=6, states=4):
    shapes = [(batch, length, channels)] * 2 + [(channels, states)] + [(batch, length, states)] * 2 + [(channels,)]
    tensors = [torch.randn(shape) for shape in shapes]
    tensors[1] = torch.nn.functional.softplus(tensors[1])
    tensors[2] = -torch.exp(tensors[2])
    return [tensor.requires_grad_() for tensor in tensors]


def with_gradients(function, tensors, weight):
    output = function(*tensors)
    return [output.detach(), *torch.autograd.grad((output * weight).sum(), tensors)]


@pytest.mark.parametrize('length', [1, 2, 3, 7, 8, 64, 101])
def test_the_parallel_scan_equals_the_sequential_recurrence_forward_and_backward(length):
    decay, drive = torch.rand(2, length, 5).requires_grad_(), torch.randn(2, length, 5).requires_grad_()
    weight = torch.randn(2, length, 5)
    want = with_gradients(sequential, [decay, drive], weight)
    for got, expected in zip(with_gradients(linear_scan, [decay, drive], weight), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_decays_of_zero_and_one_are_exact():
    decay = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]).view(1, 6, 1)
    drive = torch.arange(1.0, 7.0).view(1, 6, 1)
    assert linear_scan(decay, drive).flatten().tolist() == [1, 2, 5, 9, 5, 11]


@pytest.mark.parametrize('chunk', [1, 16, 64, 1000])
def test_the_selective_scan_equals_its_recurrence_forward_and_backward_for_every_chunk(chunk):
    tensors, weight = mamba_inputs(100), torch.randn(2, 100, 6)
    want = with_gradients(sequential_mamba, tensors, weight)
    got = with_gradients(lambda *t: selective_scan(*t, chunk=chunk), tensors, weight)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def kept_bytes(length: int) -> int:
    """Bytes of all storages that live between forward and backward: the graph's and what checkpoints hold."""
    gc.collect()
    before = {tensor.data_ptr() for tensor in gc.get_objects() if type(tensor) is torch.Tensor}
    storages = {}

    def note(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    tensors = mamba_inputs(length, channels=8, states=16)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = selective_scan(*tensors)
    gc.collect()
    for tensor in gc.get_objects():
        if type(tensor) is torch.Tensor and tensor.data_ptr() not in before:
            note(tensor)
    assert output.requires_grad
    return sum(storages.values())


def test_memory_for_the_backward_pass_grows_linearly_and_without_the_states():
    short, long = kept_bytes(512), kept_bytes(2048)
    assert long / short == pytest.approx(4, rel=0.1)
    states = 2 * 2048 * 8 * 16 * 4
    assert long < states  # keeping every state once would already be more, and the plain formula keeps three such


def test_the_scan_is_float32_under_autocast():
    tensors = [tensor.detach() for tensor in mamba_inputs(20)]
    want = selective_scan(*tensors)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = selective_scan(*tensors)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_the_fused_kernel_is_called_in_its_own_layout():
    """mamba-ssm's selective_scan_fn(u, delta, A, B, C, D) has the length last."""

    def kernel(u, delta, A, B, C, D):
        assert all(tensor.is_contiguous() for tensor in (u, delta, B, C))
        swapped = [tensor.transpose(1, 2) for tensor in (u, delta, B, C)]
        return sequential_mamba(swapped[0], swapped[1], A, swapped[2], swapped[3], D).transpose(1, 2)

    tensors = mamba_inputs(12)
    torch.testing.assert_close(scan._run_kernel(kernel, *tensors), selective_scan(*tensors), rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
def test_the_installed_kernel_equals_the_scan():
    pytest.importorskip('mamba_ssm', reason='mamba-ssm is not installed')
    tensors = [tensor.detach().cuda() for tensor in mamba_inputs(100)]
    torch.testing.assert_close(selective_scan(*tensors), sequential_mamba(*tensors), rtol=1e-4, atol=1e-4)


def test_wrong_shapes_and_chunks_are_named():
    with pytest.raises(ValueError, match=r'decay \(1, 3\) and drive \(1, 4\) must have one shape'):
        linear_scan(torch.ones(1, 3), torch.ones(1, 4))
    with pytest.raises(ValueError, match='chunk must be at least 1, got 0'):
        selective_scan(*mamba_inputs(4), chunk=0)
