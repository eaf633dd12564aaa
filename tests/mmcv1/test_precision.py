"""`auto_fp16` and `force_fp32` in both half precisions."""

import pytest
import torch
from torch import nn

from mmopt.mmcv1.standins.precision import auto_fp16, cast_tensor_type, force_fp32, wrap_fp16_model

_SCALE = torch.ones(1)


class Probe(nn.Module):
    def __init__(self):
        super().__init__()
        self.fp16_enabled = False
        self.linear = nn.Linear(2, 2)

    @auto_fp16(apply_to=('x',), out_fp32=True)
    def half(self, x, y, z=None, scale=_SCALE):
        return x, y, self.linear(y), self.loss(dict(a=[x]), z), scale

    @force_fp32()
    def loss(self, parts, z):
        return parts['a'][0].dtype, self.linear(parts['a'][0]).dtype, z


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_inside_auto_fp16_is_half_and_inside_force_fp32_is_float32(dtype):
    probe, ones = Probe(), torch.ones(1, 2)
    wrap_fp16_model(probe)
    seen = {}
    probe.linear.register_forward_hook(lambda module, args, output: seen.update({args[0].dtype: output.dtype}))
    with torch.autocast('cpu', dtype):
        x, y, product, (inside, product_inside, z), scale = probe.half(ones, y=ones, z='text')
    assert seen == {torch.float32: torch.float32}  # the last call was the one inside of force_fp32
    assert inside is torch.float32
    assert product_inside is torch.float32
    assert {x.dtype, y.dtype, product.dtype, scale.dtype} == {torch.float32}  # out_fp32; a default is never cast
    assert z == 'text'


def test_without_the_flag_methods_are_called_as_they_are():
    probe, ones = Probe(), torch.ones(1, 2)
    with torch.autocast('cpu', torch.bfloat16):
        x, _, product, (inside, product_inside, _), _ = probe.half(ones, ones)
    assert x.dtype is inside is torch.float32
    assert product.dtype is product_inside is torch.bfloat16


def test_only_modules_may_be_decorated():
    class Plain:
        @force_fp32()
        def run(self):
            return 1

    with pytest.raises(TypeError, match='@force_fp32 can only be used to decorate the method of'):
        Plain().run()


def test_casting_keeps_the_nesting_and_other_types():
    nested = dict(a=[torch.ones(1)], b=(torch.ones(1, dtype=torch.int64), 'x'), c=None)
    cast = cast_tensor_type(nested, torch.float32, torch.float16)
    assert cast['a'][0].dtype is torch.float16
    assert cast['b'][0].dtype is torch.int64
    assert cast['b'][1] == 'x'
    assert cast['c'] is None
