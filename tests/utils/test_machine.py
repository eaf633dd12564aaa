import pytest
import torch

from mmopt.utils import machine
from mmopt.utils.machine import MatmulRate, describe_machine, matmul_flop_per_s, may_use_tf32, reachable_flop_per_s


def test_a_rate_is_operations_over_seconds(monkeypatch):
    rate = MatmulRate(torch.float32, size=10)
    times = iter([1.0, 1.5])
    monkeypatch.setattr('time.perf_counter', lambda: next(times))
    assert rate() == 2 * 10**3 / 0.5


def test_the_median_of_the_rates_counts(monkeypatch):
    rates = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr('mmopt.utils.machine.MatmulRate', lambda dtype, device, size: lambda: next(rates))
    assert matmul_flop_per_s(torch.float32, repeats=3) == 2.0


@pytest.fixture
def tf32_switches():
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn
    yield matmul, conv
    matmul.allow_tf32, conv.allow_tf32 = False, True
    matmul.fp32_precision, conv.conv.fp32_precision = 'none', 'tf32'


def test_tf32_is_told_whichever_of_the_two_switches_was_used(tf32_switches):
    matmul, conv = tf32_switches
    assert (may_use_tf32('product'), may_use_tf32('convolution')) == (False, True)
    matmul.allow_tf32 = True
    conv.allow_tf32 = False
    assert (may_use_tf32('product'), may_use_tf32('convolution')) == (True, False)
    matmul.fp32_precision = 'ieee'  # from here on torch refuses to read allow_tf32
    conv.conv.fp32_precision = 'tf32'
    assert (may_use_tf32('product'), may_use_tf32('convolution')) == (False, True)


@pytest.mark.parametrize('value', ['ieee', 'tf32', 'none'])
def test_measuring_a_rate_leaves_the_switches_as_they_were(tf32_switches, monkeypatch, value):
    matmul, _ = tf32_switches
    matmul.allow_tf32 = value == 'tf32'
    matmul.fp32_precision = value
    seen = []
    monkeypatch.setattr(
        machine, 'MatmulRate', lambda dtype, device, size: lambda: seen.append(may_use_tf32('product')) or 1.0
    )
    for tf32 in (False, True):
        matmul_flop_per_s(torch.float32, repeats=1, tf32=tf32)
    assert seen == [False, True]
    assert matmul.fp32_precision == value
    assert matmul.allow_tf32 is (value == 'tf32')


def test_a_gpu_is_measured_by_each_kind_of_operation_in_its_precision(monkeypatch):
    rates = {False: 100.0, True: 400.0}
    monkeypatch.setattr(machine, 'matmul_flop_per_s', lambda dtype, device, tf32=False, size=None: rates[tf32])
    flops = dict(convolution=800, product=200)
    # 2 s of convolutions in TF32 and 2 s of products in fp32.
    assert reachable_flop_per_s(flops, torch.float32, 'cuda') == 1000 / 4
    assert (
        reachable_flop_per_s(flops, torch.float32, 'cpu') == reachable_flop_per_s(flops, torch.bfloat16, 'cuda') == 100
    )
    assert reachable_flop_per_s(dict(convolution=0, product=0), torch.float32, 'cuda') == 100


def test_a_machine_is_named_with_its_versions():
    machine = describe_machine()
    assert machine['cpu']
    assert machine['torch'] == torch.__version__
    assert ('gpu' in machine) == torch.cuda.is_available()
