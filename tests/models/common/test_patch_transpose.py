"""Transposed convolution without overlap: equal to torch's, in both ways of computing it."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from mmopt.models.common import patch_transpose
from mmopt.models.common.patch_transpose import PatchTranspose2d


@pytest.mark.parametrize('faster', [True, False])
@pytest.mark.parametrize(('factor', 'bias'), [(2, False), (2, True), (3, True)])
def test_equals_torchs_transposed_convolution(monkeypatch, factor, bias, faster):
    monkeypatch.setattr(patch_transpose, '_product_is_faster', lambda pixels: faster)
    ours = PatchTranspose2d(5, 7, factor, bias=bias)
    theirs = nn.ConvTranspose2d(5, 7, factor, stride=factor, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.randn(2, 5, 4, 6)
    results = []
    for layer in (ours, theirs):
        input_ = pixels.clone().requires_grad_()
        output = layer(input_)
        output.square().sum().backward()
        results.append([output, input_.grad, *(parameter.grad for parameter in layer.parameters())])
    for mine, reference in zip(*results, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('has_avx512', 'precision', 'faster'),
    [(True, None, False), (False, None, True), (True, torch.bfloat16, True), (True, torch.float16, False)],
)
def test_the_product_is_taken_where_it_was_measured_to_be_faster(monkeypatch, has_avx512, precision, faster):
    monkeypatch.setattr(patch_transpose, '_HAS_AVX512', has_avx512)
    with torch.autocast('cpu', precision) if precision else nullcontext():
        assert patch_transpose._product_is_faster(torch.zeros(1, 1, 1, 1)) is faster
    assert not patch_transpose._product_is_faster(torch.zeros(1, 1, 1, 1, device='meta'))
