import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmopt.engine.optim.half_on_cpu import HalfOnCpu, autocast, cpu_multiplies_halves


def gradients(half: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, 2), nn.Flatten(), nn.Linear(256, 5)
    )
    x = torch.randn(2, 3, 4, 4)
    if not half:
        model(x).square().mean().backward()
    else:
        with autocast('cpu', torch.float16):
            loss = model(x).square().mean()
        with HalfOnCpu():
            loss.backward()
    return [p.grad for p in model.parameters()]


def test_gradients_are_near_float32():
    for got, want in zip(gradients(half=True), gradients(half=False), strict=True):
        torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-3)


def test_values_are_halves_and_sums_are_float32():
    """A sum of 4096 ones times 1 + 2^-10 stalls at 2048 when added in half; in fp32 it is 4100."""
    a, b = torch.ones(1, 4096).half(), torch.full((4096, 1), 1 + 2**-10).half()
    with HalfOnCpu():
        product = a @ b
    assert product.dtype is torch.float16
    assert float(product) == 4100.0


def test_overflow_stays_an_infinity():
    with HalfOnCpu():
        assert torch.isinf(torch.full((1, 2), 300.0).half() @ torch.full((2, 1), 300.0).half()).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_other_precisions_are_left_alone(dtype):
    x, weight = torch.randn(4, 8).to(dtype), torch.randn(3, 8).to(dtype)
    with HalfOnCpu():
        inside = functional.linear(x, weight)
    assert torch.equal(inside, functional.linear(x, weight))


@pytest.mark.skipif(cpu_multiplies_halves(), reason='this CPU has fp16 arithmetic, so nothing is emulated')
def test_products_cost_like_float32_and_not_like_plain_loops():
    """The claim of the module docstring: measured 20 times faster; a third of that is asked for here."""
    a, b = torch.randn(600, 384).half(), torch.randn(384, 768).half()

    def seconds(product) -> float:
        product()
        start = time.perf_counter()
        product()
        return time.perf_counter() - start

    def widened() -> None:
        with HalfOnCpu():
            a @ b

    plain = min(seconds(lambda: a @ b) for _ in range(3))
    ours = min(seconds(widened) for _ in range(3))
    assert ours < plain / 3


def test_nothing_is_entered_before_the_with_statement():
    context = autocast('cpu', torch.float16)
    assert not torch.is_autocast_enabled('cpu')
    with context:
        assert torch.is_autocast_enabled('cpu')
    assert not torch.is_autocast_enabled('cpu')
