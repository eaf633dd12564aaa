import pytest
import torch
from torch import nn

from mmopt.models.bev import NUSCENES_PRIORS, PyramidHead


def test_the_head_of_the_baseline_has_the_originals_size():
    assert sum(parameter.numel() for parameter in PyramidHead().parameters()) == 1_951_758


def test_the_first_prediction_is_the_prior_everywhere_and_the_grid_is_doubled():
    head = PyramidHead()
    with torch.no_grad():
        probabilities = head(torch.randn(1, 64, 6, 5)).sigmoid()
    assert probabilities.shape == (1, 14, 12, 10)
    expected = torch.tensor(NUSCENES_PRIORS)[None, :, None, None].expand_as(probabilities)
    torch.testing.assert_close(probabilities, expected)


def test_only_the_classifier_learns_in_the_first_step():
    head = PyramidHead(8, (4, 4), (1, 1), norm_cfg=dict(type='GN', num_groups=2), priors=(0.1, 0.2))
    head(torch.randn(1, 8, 4, 4)).square().sum().backward()
    learns = {name for name, parameter in head.named_parameters() if parameter.grad.any()}
    assert learns == {'classifier.weight', 'classifier.bias'}


def test_norm_cfg_and_act_cfg_reach_every_layer():
    head = PyramidHead(norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'))
    kinds = [type(module) for module in head.modules()]
    assert kinds.count(nn.BatchNorm2d) == 3 * 8 + 2
    assert not {nn.GroupNorm, nn.ReLU} & set(kinds)


def test_every_norm_is_called_norm_so_that_one_key_spares_it_from_weight_decay():
    for name, module in PyramidHead().named_modules():
        if isinstance(module, nn.GroupNorm):
            assert 'norm' in name.rsplit('.', 1)[-1]


@pytest.mark.parametrize('prior', [0.0, 1.0, -0.5])
def test_impossible_priors_are_rejected(prior):
    with pytest.raises(ValueError, match='every prior must lie between 0 and 1'):
        PyramidHead(priors=(0.5, prior))


def test_stages_must_agree():
    with pytest.raises(ValueError, match=r'channels \(128,\), num_blocks \(4, 4\)'):
        PyramidHead(channels=(128,))
