import torch

from mmopt.utils.machine import MatmulRate, describe_machine, matmul_flop_per_s


def test_a_rate_is_operations_over_seconds(monkeypatch):
    rate = MatmulRate(torch.float32, size=10)
    times = iter([1.0, 1.5])
    monkeypatch.setattr('time.perf_counter', lambda: next(times))
    assert rate() == 2 * 10**3 / 0.5


def test_the_median_of_the_rates_counts(monkeypatch):
    rates = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr('mmopt.utils.machine.MatmulRate', lambda dtype, device: lambda: next(rates))
    assert matmul_flop_per_s(torch.float32, repeats=3) == 2.0


def test_a_machine_is_named_with_its_versions():
    machine = describe_machine()
    assert machine['cpu']
    assert machine['torch'] == torch.__version__
    assert ('gpu' in machine) == torch.cuda.is_available()
