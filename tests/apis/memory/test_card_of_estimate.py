"""What an estimate takes from the card: also without a budget, whose search would cost more than the estimate."""

from types import SimpleNamespace

import pytest
import torch

from mmopt.apis.memory import estimate
from mmopt.engine.memory.gpus import Gpu, parse_gpu
from tests.conftest import load_script

HOPPER_BYTES = 32 * 1024**2


class _AskedError(Exception):
    pass


@pytest.mark.parametrize(
    ('options', 'workspace'),
    [
        (dict(), 8_519_680),
        (dict(gpu=Gpu(139.8, (9, 0))), HOPPER_BYTES),
        (dict(budget=parse_gpu('h100')), HOPPER_BYTES),
        (dict(gpu=Gpu(139.8, (9, 0)), budget=parse_gpu('rtx3090')), HOPPER_BYTES),
    ],
)
def test_the_workspace_of_cublas_is_that_of_the_card(monkeypatch, options, workspace):
    asked = []

    def ask(request):
        asked.append(request)
        raise _AskedError

    monkeypatch.setattr(estimate, '_ask_worker', ask)
    with pytest.raises(_AskedError):
        estimate.estimate_memory('configs/demo/tad_v7_mabe.py', **options)
    assert asked[0]['blas_workspace'] == workspace
    assert (asked[0]['search'] is None) is ('budget' not in options)


def test_the_benchmark_estimates_for_the_card_that_it_measures(monkeypatch):
    benchmark = load_script('benchmarks/memory_estimate.py')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    facts = SimpleNamespace(total_memory=139 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda index: facts)
    assert benchmark.this_gpu() == Gpu(139.0, (9, 0))
