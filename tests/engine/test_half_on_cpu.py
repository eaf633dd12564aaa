"""Halves on a CPU without arithmetic for them: the values of a half precision at about the cost of fp32."""

import functools

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmopt.apis.memory.case import load_case
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper
from mmopt.engine.optim.half_on_cpu import EMULATED_OPERATORS, HalfOnCpu, autocast, emulation, emulation_cost
from mmopt.utils.precision import relative_time, this_cpu
from tests.conftest import REPO
from tests.engine.loops.test_step import gradients as step_gradients
from tests.engine.toy import ToyModel

HALVES = (torch.float16, torch.bfloat16)
# Distance of a rounded value from the true one, relative to it: half of the last bit.
ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def gradients(dtype: torch.dtype | None) -> list[Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, 2), nn.Flatten(), nn.Linear(256, 5)
    )
    x = torch.randn(2, 3, 4, 4)
    if dtype is None:
        model.double()(x.double()).square().mean().backward()
    else:
        with HalfOnCpu((dtype,)):
            with torch.autocast('cpu', dtype):
                loss = model(x).square().mean()
            loss.backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize('dtype', HALVES)
def test_gradients_are_those_of_float64_but_for_rounding(dtype):
    """Four roundings lie between an input and a gradient; bf16 was off by up to 1.2 %, fp16 by 0.2 %."""
    for got, want in zip(gradients(dtype), gradients(None), strict=True):
        assert (got.double() - want).norm() <= 8 * ROUNDING[dtype] * want.norm()


# Name -> (function, shapes of its inputs): every operator that is emulated, reached as models reach it.
PRODUCTS = {
    'mm': (torch.mm, [(17, 64), (64, 9)]),
    'addmm': (torch.addmm, [(9,), (17, 64), (64, 9)]),
    'bmm': (torch.bmm, [(3, 17, 64), (3, 64, 9)]),
    'baddbmm': (torch.baddbmm, [(3, 17, 9), (3, 17, 64), (3, 64, 9)]),
    'addbmm': (torch.addbmm, [(17, 9), (3, 17, 64), (3, 64, 9)]),
    'mv': (torch.mv, [(17, 64), (64,)]),
    'addmv': (torch.addmv, [(17,), (17, 64), (64,)]),
    'dot': (torch.dot, [(64,), (64,)]),
    'linear': (functional.linear, [(5, 4, 64), (9, 64), (9,)]),
    'conv1d': (functional.conv1d, [(2, 8, 20), (6, 8, 3), (6,)]),
    'conv2d': (functools.partial(functional.conv2d, padding=1), [(2, 8, 7, 7), (6, 8, 3, 3), (6,)]),
    'conv3d': (functional.conv3d, [(2, 4, 5, 6, 7), (6, 4, 3, 3, 3), (6,)]),
    'conv_transpose2d': (functional.conv_transpose2d, [(2, 8, 7, 7), (8, 6, 2, 2)]),
    'attention': (functional.scaled_dot_product_attention, [(2, 3, 12, 16)] * 3),
    'avg_pool2d': (functools.partial(functional.avg_pool2d, kernel_size=2), [(2, 4, 8, 8)]),
    'max_pool2d': (functools.partial(functional.max_pool2d, kernel_size=2), [(2, 4, 8, 8)]),
    'upsample_nearest2d': (functools.partial(functional.interpolate, scale_factor=2), [(2, 4, 8, 8)]),
}


def run(name: str, inputs: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    function, _ = PRODUCTS[name]
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = function(*inputs)
    out.sum().backward()
    return out.detach(), [x.grad for x in inputs]


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('name', PRODUCTS)
def test_values_and_gradients_are_the_rounded_ones_of_float64(name, dtype):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator).to(dtype) for shape in PRODUCTS[name][1]]
    with HalfOnCpu((dtype,)):
        out, grads = run(name, inputs)
    want_out, want_grads = run(name, [x.double() for x in inputs])
    for got, want in ((out, want_out), *zip(grads, want_grads, strict=True)):
        assert got.dtype is dtype
        # One rounding of the result, and what fp32 sums lose; attention rounds its probabilities' gradient as well.
        allowed = (4 if name == 'attention' else 1.01) * ROUNDING[dtype]
        assert (got.double() - want).abs().max() <= allowed * want.abs().max() + 1e-5


@pytest.mark.skipif(not this_cpu().support('bf16').is_native, reason='this CPU has no bf16 arithmetic to compare with')
@pytest.mark.parametrize('name', PRODUCTS)
def test_native_bf16_gives_the_same_but_for_one_rounding(name):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator).bfloat16() for shape in PRODUCTS[name][1]]
    native, native_grads = run(name, inputs)
    with HalfOnCpu((torch.bfloat16,)):
        emulated, emulated_grads = run(name, inputs)
    for got, want in ((emulated, native), *zip(emulated_grads, native_grads, strict=True)):
        assert (got.double() - want.double()).abs().max() <= 4 * 2.0**-8 * want.double().abs().max()


def test_values_are_halves_and_sums_are_float32():
    """A sum of 4096 ones times 1 + 2^-10 stalls at 2048 when added in half; in fp32 it is 4100."""
    a, b = torch.ones(1, 4096).half(), torch.full((4096, 1), 1 + 2**-10).half()
    with HalfOnCpu():
        product = a @ b
    assert product.dtype is torch.float16
    assert float(product) == 4100.0


def test_overflow_of_fp16_stays_an_infinity():
    with HalfOnCpu():
        assert torch.isinf(torch.full((1, 2), 300.0).half() @ torch.full((2, 1), 300.0).half()).all()


@pytest.mark.parametrize('dtype', HALVES)
def test_results_that_are_written_into_a_tensor_are_emulated_as_well(dtype):
    a, b = torch.randn(4, 8).to(dtype), torch.randn(8, 3).to(dtype)
    want = (a.double() @ b.double()).to(dtype)
    out, total = torch.empty(4, 3, dtype=dtype), torch.zeros(4, 3, dtype=dtype)
    with HalfOnCpu():
        assert torch.mm(a, b, out=out) is out
        assert total.addmm_(a, b) is total
    assert torch.equal(out, want)
    assert torch.equal(total, want)


def test_other_precisions_are_left_alone():
    x, weight = torch.randn(4, 8), torch.randn(3, 8)
    with HalfOnCpu((torch.float16,)):
        assert torch.equal(functional.linear(x, weight), functional.linear(x, weight))
        inside = functional.linear(x.bfloat16(), weight.bfloat16())
    assert torch.equal(inside, functional.linear(x.bfloat16(), weight.bfloat16()))


def test_what_a_device_computes_itself_is_not_emulated(monkeypatch):
    monkeypatch.setattr('mmopt.utils.precision._cpu_natives', lambda: dict(bf16='made up'))
    assert not isinstance(emulation('cpu', torch.bfloat16), HalfOnCpu)
    assert isinstance(emulation('cpu', torch.float16), HalfOnCpu)
    assert not isinstance(emulation('cpu', torch.float32), HalfOnCpu)
    assert not isinstance(emulation('cuda', torch.float16), HalfOnCpu)


@pytest.mark.parametrize(('dtype', 'name'), [(torch.float16, 'fp16'), (torch.bfloat16, 'bf16')])
def test_products_cost_like_float32_and_not_like_plain_loops(dtype, name):
    """Products and convolutions alone: 1.1 to 1.3 times fp32 were measured; plain loops take 40 times as long."""
    assert emulation_cost(dtype) < 20  # on a busy machine 10 has been seen
    if not this_cpu().support(name).is_native:
        a, b = torch.randn(256, 384).to(dtype), torch.randn(384, 256).to(dtype)

        def emulated() -> None:
            with HalfOnCpu((dtype,)):
                a @ b

        assert relative_time([emulated], [lambda: a @ b]) > 3


def test_nothing_is_entered_before_the_with_statement():
    context = autocast('cpu', torch.float16)
    assert not torch.is_autocast_enabled('cpu')
    with context:
        assert torch.is_autocast_enabled('cpu')
    assert not torch.is_autocast_enabled('cpu')


def test_float32_changes_nothing():
    with autocast('cpu', torch.float32):
        assert not torch.is_autocast_enabled('cpu')


def test_micro_batches_of_emulated_bf16_give_the_gradient_of_the_batch_but_for_rounding(no_half_arithmetic):
    model = ToyModel(dropout=0.0)
    whole = step_gradients(model, None, AmpOptimWrapper, dtype='bfloat16')
    parts = step_gradients(model, 2, AmpOptimWrapper, dtype='bfloat16')
    for got, want in zip(parts, whole, strict=True):
        assert (got - want).norm() <= 4 * ROUNDING[torch.bfloat16] * want.norm()


# ------------------------------------------------------------------------------- what runs in half precision at all
# Beside the emulated ones: what moves, rounds or maps values one by one. On AVX2 each takes at most four times as long
# in bf16 as in fp32, and none takes a tenth of a step (gelu_backward 14 of 650 ms is the largest).
CHEAP = {
    # views, copies and values made
    '_to_copy', '_unsafe_view', 'alias', 'cat', 'clone', 'copy_', 'detach', 'empty_like', 'expand', 'flip',
    'index_fill_', 'index_select', 'ones_like', 'permute', 'repeat', 'select', 'slice', 'slice_backward', 'split',
    'split_with_sizes', 'squeeze', 'stack', 't', 'to', 'transpose', 'unbind', 'unsqueeze', 'view',
    # one value after another
    'add', 'add_', 'bernoulli_', 'div', 'div_', 'gelu', 'gelu_backward', 'mul', 'mul_', 'relu', 'relu_', 'sigmoid',
    'sigmoid_backward', 'silu', 'silu_backward', 'threshold_backward',
    # moves, that of halves takes a third of that of fp32 (`timeit` on an AMD EPYC)
    'pixel_shuffle', 'pixel_unshuffle',
    # sums
    '_softmax_backward_data', 'avg_pool2d', 'max_pool2d_with_indices_backward', 'mean', 'native_batch_norm',
    'native_batch_norm_backward', 'native_group_norm', 'native_group_norm_backward', 'native_layer_norm',
    'native_layer_norm_backward', 'sum', 'upsample_bilinear2d', 'upsample_bilinear2d_backward', 'upsample_nearest2d',
}  # fmt: skip
DEMOS = sorted(path.stem for path in (REPO / 'configs' / 'demo').glob('*.py'))


class _Halves(TorchDispatchMode):
    """Collect the operators that reach the kernels with a half."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(isinstance(value, Tensor) and value.dtype in HALVES for value in tree_leaves((args, kwargs))):
            self.operators.add(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('demo', DEMOS)
def test_no_operator_of_a_training_step_or_prediction_falls_through_to_plain_loops(demo, no_half_arithmetic):
    """A new operator in half precision must be measured on a CPU without bf16, and then emulated or listed above."""
    case = load_case(REPO / 'configs' / 'demo' / f'{demo}.py', precision='bf16', batch_size=2)
    model, batch = case.build_model(), case.batch_maker()()
    wrapper = case.build_optim_wrapper(model)
    with _Halves() as seen:
        TrainStep(model.train(), wrapper)(batch)
        with torch.no_grad(), wrapper.autocast('cpu'):
            model.eval().val_step(batch)
    assert not seen.operators & EMULATED_OPERATORS, 'an emulated operator got halves all the same'
    names = {func.overloadpacket.__name__ for func in seen.operators}
    assert names <= CHEAP, f'not measured: {sorted(names - CHEAP)}'
    assert '_to_copy' in names  # something did run in half


# ------------------------------------------------------------------------------------------------ precision='auto'
def wrapper_of(**kwargs) -> AmpOptimWrapper:
    return AmpOptimWrapper(torch.optim.SGD(ToyModel().parameters(), lr=0.1), **kwargs)


def test_auto_is_float32_on_a_cpu_without_halves_and_then_changes_nothing(no_half_arithmetic):
    wrapper = wrapper_of(dtype='auto')
    assert (wrapper.precision, wrapper.cast_dtype) == ('fp32', torch.float32)
    assert 'no bf16 arithmetic' in wrapper.choice.reason
    model = ToyModel(dropout=0.0)
    for got, want in zip(
        step_gradients(model, None, AmpOptimWrapper, dtype='auto'),
        step_gradients(model, None, OptimWrapper),
        strict=True,
    ):
        assert torch.equal(got, want)


def test_auto_is_what_the_device_has_and_the_config_allows(monkeypatch):
    monkeypatch.setattr('mmopt.utils.precision._cpu_natives', lambda: dict(bf16='made up', fp16='made up'))
    assert wrapper_of(dtype='auto').precision == 'bf16'
    fp16 = wrapper_of(dtype='auto', allow=['fp16'], loss_scale=64.0)
    assert (fp16.precision, fp16.loss_scaler.get_scale()) == ('fp16', 64.0)


def test_a_given_precision_is_nobodys_choice():
    wrapper = wrapper_of(dtype='bfloat16')
    wrapper.keep_precision('fp32')
    assert (wrapper.choice, wrapper.precision) == (None, 'bf16')
    assert OptimWrapper(torch.optim.SGD(ToyModel().parameters(), lr=0.1)).precision == 'fp32'


def test_the_config_of_a_class_is_evaluated_in_its_precision():
    from mmopt.engine.optim.precision import evaluation_precision

    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='auto')))
    assert evaluation_precision(cfg.optim_wrapper, 'fp32', 'cpu') == 'fp32'
    assert evaluation_precision(dict(type=AmpOptimWrapper, dtype='bfloat16'), 'fp32', 'cpu') == 'bf16'


def test_a_checkpoint_in_a_precision_that_is_emulated_here_is_evaluated_in_what_is_native(no_half_arithmetic):
    from mmopt.engine.optim.precision import evaluation_precision

    assert evaluation_precision(dict(type='AmpOptimWrapper', dtype='auto'), 'bf16', 'cpu') == 'fp32'
