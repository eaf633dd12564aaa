import torch

from mmopt.utils import transfer
from mmopt.utils.transfer import host_buffer, send


def test_on_the_host_tensors_stay_what_they_are():
    given = [torch.rand(3), torch.tensor(2)]
    assert all(there is here for there, here in zip(send(given, torch.device('cpu')), given, strict=True))


def test_only_a_gpu_gets_its_bytes_from_page_locked_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(transfer.torch, 'empty', lambda size, **kwargs: asked.append((size, kwargs['pin_memory'])))
    host_buffer(8, torch.device('cuda', 0))
    host_buffer(8, torch.device('meta'))
    assert asked == [(8, True), (8, False)]
