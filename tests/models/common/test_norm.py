import pytest
import torch
from torch import nn

from mmopt.models.common import GroupNorm, build_norm


def test_gn_builds_the_fast_one_with_all_options():
    layer = build_norm(dict(type='GN', num_groups=4, eps=1e-3, requires_grad=False), 8)
    assert type(layer) is GroupNorm
    assert (layer.num_groups, layer.eps) == (4, 1e-3)
    assert not layer.weight.requires_grad
    inputs = torch.randn(2, 8, 3, 3)
    torch.testing.assert_close(layer(inputs), nn.functional.group_norm(inputs, 4, eps=1e-3))


@pytest.mark.parametrize(('name', 'kind'), [('BN', nn.BatchNorm2d), ('LN', nn.LayerNorm)])
def test_other_layers_are_mmcvs(name, kind):
    assert type(build_norm(dict(type=name), 8)) is kind
