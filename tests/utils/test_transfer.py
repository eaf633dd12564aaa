import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmopt.utils import transfer
from mmopt.utils.transfer import copy_all, host_buffer, send


def test_on_the_host_tensors_stay_what_they_are():
    given = [torch.rand(3), torch.tensor(2)]
    assert all(there is here for there, here in zip(send(given, torch.device('cpu')), given, strict=True))


def test_only_a_gpu_gets_its_bytes_from_page_locked_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(transfer.torch, 'empty', lambda size, **kwargs: asked.append((size, kwargs['pin_memory'])))
    host_buffer(8, torch.device('cuda', 0))
    host_buffer(8, torch.device('meta'))
    assert asked == [(8, True), (8, False)]


class _Copies(TorchDispatchMode):
    """Notes the types of tensors that are copied together."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[set] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if 'copy' in func.name():
            self.found.append({tensor.dtype for tensor in args[0]})
        return func(*args, **(kwargs or {}))


def test_tensors_of_one_type_are_copied_together_whatever_lies_between_them():
    sources = [torch.rand(3), torch.rand(2), torch.tensor(7), torch.rand(3), torch.rand(2), torch.tensor(8)]
    targets = [torch.zeros_like(source) for source in sources]
    with _Copies() as copies:
        copy_all(targets, sources)
    assert copies.found == [{torch.float32}, {torch.int64}]
    assert all(torch.equal(target, source) for target, source in zip(targets, sources, strict=True))


def test_nothing_to_copy_is_no_error():
    copy_all([], [])
