"""What can be shown of Apple's GPUs without one."""

import re

import pytest
import torch

from mmopt.engine.checkpoint_io import rng_state, set_rng_state
from mmopt.utils.mps import copies_in_order, empty_device_cache, to_float64
from tests.conftest import REPO


class OnMps:
    """A tensor of such a device, whose ``double`` raises there."""

    device = torch.device('mps')

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def cpu(self) -> torch.Tensor:
        return torch.tensor(self.values)


def test_counts_are_exact_where_the_device_has_no_float64():
    count = 2**24 + 1  # the first whole number that float32 lacks
    for tensor in (OnMps([count]), torch.tensor([count])):
        found = to_float64(tensor)
        assert found.dtype is torch.float64
        assert found.tolist() == [count]


def test_what_runs_on_a_device_makes_no_float64_of_its_own():
    found = set()
    for folder in ('models', 'ops', 'evaluation', 'engine', 'structures'):
        for path in (REPO / 'mmopt' / folder).rglob('*.py'):
            if re.search(r'\.double\(\)|\.to\(torch\.float64|torch\.double', path.read_text(encoding='utf-8')):
                found.add(path.relative_to(REPO).as_posix())
    assert found == set()


def test_only_cudas_copies_to_the_host_need_no_waiting_for():
    kinds = ('cpu', 'cuda', 'mps')
    assert [copies_in_order(torch.device(kind)) for kind in kinds] == [False, True, False]


@pytest.mark.parametrize(
    ('cuda', 'mps', 'expected'), [(True, False, 'cuda'), (False, True, 'mps'), (False, False, None)]
)
def test_the_cache_of_the_gpu_there_is_is_emptied(monkeypatch, cuda, mps, expected):
    emptied = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: emptied.append('cuda'))
    monkeypatch.setattr(torch.mps, 'empty_cache', lambda: emptied.append('mps'))
    empty_device_cache()
    assert emptied == ([expected] if expected else [])


def test_the_random_state_of_the_gpu_is_saved_and_put_back(monkeypatch):
    plain = rng_state()
    assert 'mps' not in plain
    generator = [torch.tensor([1, 2], dtype=torch.uint8)]
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    monkeypatch.setattr(torch.mps, 'get_rng_state', lambda: generator[0].clone())
    monkeypatch.setattr(torch.mps, 'set_rng_state', lambda state: generator.append(state))
    saved = rng_state()
    set_rng_state(saved)
    assert generator[-1].tolist() == [1, 2]
    set_rng_state(plain)  # of a run on another device
    assert len(generator) == 2
