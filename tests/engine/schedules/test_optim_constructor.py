import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.optim import OptimWrapper
from torch import nn

from mmopt.engine.optim import MMCV1OptimWrapperConstructor
from mmopt.registry import OPTIM_WRAPPER_CONSTRUCTORS

LR, DECAY = 0.1, 0.01


class DeformConv2d(nn.Module):
    """Stands for mmcv's: the constructor goes by the name, since mmcv-lite has no operators."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.bias = nn.Parameter(torch.ones(2))


class DeformConv2dPack(DeformConv2d):
    def __init__(self) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(2, 4, 1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.dw = nn.Conv2d(8, 8, 3, groups=8)
        self.gn = nn.GroupNorm(2, 8)
        self.dcn = DeformConv2dPack()
        self.head = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.shared = self.head[0]


def build(paramwise_cfg: dict | None, model: nn.Module | None = None, **options) -> OptimWrapper:
    optimizer = dict(type='SGD', lr=LR, momentum=0.9, weight_decay=DECAY) | options
    cfg = dict(type='OptimWrapper', optimizer=optimizer)
    return MMCV1OptimWrapperConstructor(cfg, paramwise_cfg)(model or Net())


def settings_of(wrapper: OptimWrapper) -> dict[str, tuple[float, float]]:
    return {
        name: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for name in group['param_names']
    }


def reference(model: nn.Module, cfg: dict) -> dict[int, tuple[float, float]]:
    """MMCV's rules, parameter by parameter, the first place of a shared parameter counting."""
    found: dict[int, tuple[float, float]] = {}

    def visit(module: nn.Module, prefix: str, parent_is_deformable: bool) -> None:
        for name, param in module.named_parameters(recurse=False):
            lr, decay = LR, DECAY
            is_norm = isinstance(module, nn.BatchNorm2d | nn.GroupNorm)
            keys = sorted(cfg.get('custom_keys', {}), key=lambda key: (-len(key), key))
            matching = [key for key in keys if key in f'{prefix}.{name}']
            if not param.requires_grad:
                pass
            elif matching:
                lr *= cfg['custom_keys'][matching[0]].get('lr_mult', 1)
                decay *= cfg['custom_keys'][matching[0]].get('decay_mult', 1)
            else:
                if name == 'bias' and not is_norm and not parent_is_deformable:
                    lr = LR * cfg.get('bias_lr_mult', 1)
                if parent_is_deformable and 'conv_offset' in prefix and isinstance(module, nn.Conv2d):
                    lr = LR * cfg.get('dcn_offset_lr_mult', 1)
                if is_norm:
                    decay *= cfg.get('norm_decay_mult', 1)
                elif isinstance(module, nn.Conv2d) and module.groups == module.in_channels:
                    decay *= cfg.get('dwconv_decay_mult', 1)
                elif name == 'bias' and not parent_is_deformable:
                    decay *= cfg.get('bias_decay_mult', 1)
            found.setdefault(id(param), (lr, decay))
        for name, child in module.named_children():
            visit(child, f'{prefix}.{name}' if prefix else name, isinstance(module, DeformConv2d))

    visit(model, '', False)
    return found


multiplier = st.sampled_from([0.0, 0.1, 1.0, 2.0])
paramwise_cfgs = st.fixed_dictionaries(
    {},
    optional=dict(
        bias_lr_mult=multiplier,
        bias_decay_mult=multiplier,
        norm_decay_mult=multiplier,
        dwconv_decay_mult=multiplier,
        dcn_offset_lr_mult=multiplier,
        bypass_duplicate=st.booleans(),
        custom_keys=st.dictionaries(
            st.sampled_from(['head', 'conv', 'bn', '.scale', 'head.0', 'weight', '.0', 'd', 'dw.bias', 'bias', 'dcn']),
            st.fixed_dictionaries({}, optional=dict(lr_mult=multiplier, decay_mult=multiplier)),
            max_size=4,
        ),
    ),
)


@given(cfg=paramwise_cfgs)
@settings(max_examples=150, deadline=None)
def test_every_parameter_gets_what_mmcv_gives_it(cfg):
    model = Net()
    expected = reference(model, cfg)
    groups = build(cfg, model).optimizer.param_groups
    actual = {id(param): (group['lr'], group['weight_decay']) for group in groups for param in group['params']}
    assert set(actual) == set(expected)
    for key, value in actual.items():
        assert value == pytest.approx(expected[key])


@given(cfg=paramwise_cfgs)
@settings(max_examples=50, deadline=None)
def test_no_two_groups_are_equal_and_none_loses_a_parameter(cfg):
    model = Net()
    groups = build(cfg, model).optimizer.param_groups
    found = [(group['lr'], group['weight_decay']) for group in groups]
    assert len(set(found)) == len(found)
    names = [name for group in groups for name in group['param_names']]
    assert sorted(names) == sorted(dict(model.named_parameters()))


def test_norm_biases_are_left_alone_by_bias_decay_mult():
    """MMEngine's constructor gives them the bias rule when norm_decay_mult is absent; 36 published configs differ."""
    found = settings_of(build(dict(bias_decay_mult=0.0)))
    assert found['conv.bias'] == (LR, 0.0)
    assert found['bn.bias'] == (LR, DECAY)


def test_positions_are_the_places_in_a_checkpoint_with_a_group_per_parameter():
    model = Net()
    groups = build(dict(norm_decay_mult=0.0), model).optimizer.param_groups
    by_position = {
        position: name
        for group in groups
        for position, name in zip(group['param_positions'], group['param_names'], strict=True)
    }
    # Depth first; the shared layer has places of its own in MMCV's list, 19 and 20, whose state is not used.
    assert [by_position[position] for position in sorted(by_position)] == list(dict(model.named_parameters()))
    assert len(groups) == 2


def test_without_paramwise_cfg_there_is_one_group():
    assert len(build(None).optimizer.param_groups) == 1


def test_a_distributed_wrapper_is_looked_through():
    wrapped = nn.Module()
    wrapped.module = Net()
    assert 'scale' in settings_of(build(dict(bias_lr_mult=2.0), wrapped))


def test_fused_reaches_the_optimizer():
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY, fused=True))
    wrapper = MMCV1OptimWrapperConstructor(cfg, dict(norm_decay_mult=0.0))(Net())
    assert wrapper.optimizer.defaults['fused'] is True


@pytest.mark.parametrize(
    ('paramwise_cfg', 'optimizer', 'message'),
    [
        (dict(norm_decay_mult=0.0), dict(type='SGD', lr=0.1), 'norm_decay_mult multiplies optimizer.weight_decay'),
        (dict(custom_keys={'a': dict(decay_mult=0.0)}), dict(type='SGD', lr=0.1), r"custom_keys\['a'\] multiplies"),
        (dict(bias_lr_mult=2.0), dict(type='SGD'), 'multiplies optimizer.lr, which is not set'),
        ({}, dict(type='Sgdd', lr=0.1), "optimizer.type='Sgdd' is not registered"),
    ],
)
def test_settings_without_a_base_are_refused(paramwise_cfg, optimizer, message):
    with pytest.raises(ValueError, match=message):
        MMCV1OptimWrapperConstructor(dict(type='OptimWrapper', optimizer=optimizer), paramwise_cfg)(Net())


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Conv2d(3, 4, 1) for _ in range(4)])
        self.stages = nn.ModuleList([nn.ModuleList([nn.Conv2d(4, 4, 1) for _ in range(4)]) for _ in range(4)])


class BEiT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.patch_embed = nn.Conv2d(3, 4, 1)
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])


def with_backbone(backbone: nn.Module) -> nn.Module:
    model = nn.Module()
    model.backbone = backbone
    model.head = nn.Linear(4, 2)
    return model


def decayed(constructor: str, paramwise_cfg: dict, backbone: nn.Module) -> dict[str, tuple[float, float]]:
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05))
    built = OPTIM_WRAPPER_CONSTRUCTORS.build(dict(type=constructor, optim_wrapper_cfg=cfg, paramwise_cfg=paramwise_cfg))
    return settings_of(built(with_backbone(backbone)))


def test_layer_decay_of_convnext_by_hand():
    found = decayed(
        'LearningRateDecayOptimWrapperConstructor',
        dict(num_layers=6, decay_rate=0.5, decay_type='layer_wise'),
        ConvNeXt(),
    )
    # 8 layers with the head as 7: the stem is seven steps below it, block 3 of stage 2 is layer 4.
    assert found['backbone.downsample_layers.0.weight'] == pytest.approx((0.5**7, 0.05))
    assert found['backbone.stages.0.0.weight'] == pytest.approx((0.5**6, 0.05))
    assert found['backbone.stages.2.3.weight'] == pytest.approx((0.5**3, 0.05))
    assert found['backbone.stages.3.0.bias'] == pytest.approx((0.5, 0.0))
    assert found['head.weight'] == pytest.approx((1.0, 0.05))


def test_stage_decay_of_convnext_by_hand():
    cfg = dict(num_layers=6, decay_rate=0.5, decay_type='stage_wise')
    found = decayed('LearningRateDecayOptimWrapperConstructor', cfg, ConvNeXt())
    assert found['backbone.downsample_layers.3.weight'] == pytest.approx((0.5**7, 0.05))
    assert found['backbone.stages.3.0.weight'] == pytest.approx((0.5**3, 0.05))
    assert found['head.weight'] == pytest.approx((1.0, 0.05))


def test_the_older_spelling_for_beit_by_hand():
    found = decayed('LayerDecayOptimWrapperConstructor', dict(num_layers=3, layer_decay_rate=0.9), BEiT())
    assert found['backbone.cls_token'] == pytest.approx((0.9**4, 0.05))
    assert found['backbone.patch_embed.bias'] == pytest.approx((0.9**4, 0.0))
    assert found['backbone.layers.2.weight'] == pytest.approx((0.9, 0.05))
    assert found['head.bias'] == pytest.approx((1.0, 0.0))


def test_tsm_by_hand():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    found = decayed('TSMOptimWrapperConstructor', dict(fc_lr5=True), backbone)
    assert found == {
        'backbone.0.weight': (1.0, 0.05),
        'backbone.0.bias': (2.0, 0),
        'backbone.1.weight': (1.0, 0),
        'backbone.1.bias': (1.0, 0),
        'head.weight': (5.0, 0.05),
        'head.bias': (10.0, 0),
    }


@pytest.mark.parametrize(
    ('constructor', 'cfg', 'backbone', 'message'),
    [
        ('LearningRateDecayOptimWrapperConstructor', dict(num_layers=6), ConvNeXt, r"missing \['decay_rate'\]"),
        ('LearningRateDecayOptimWrapperConstructor', dict(num_layers=6, decay_rate=1, a=1), BEiT, r"unknown \['a'\]"),
        (
            'LearningRateDecayOptimWrapperConstructor',
            dict(num_layers=6, decay_rate=1, decay_type='stage_wise'),
            BEiT,
            "'stage_wise' has no rule for backbone BEiT",
        ),
        ('TSMOptimWrapperConstructor', {}, ConvNeXt, 'fc_lr5=True or False'),
        ('TSMOptimWrapperConstructor', dict(fc_lr5=True), lambda: nn.Embedding(2, 2), 'no rule for Embedding'),
    ],
)
def test_a_wrong_layer_decay_is_refused(constructor, cfg, backbone, message):
    with pytest.raises(ValueError, match=message):
        decayed(constructor, cfg, backbone())
