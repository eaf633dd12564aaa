"""Checkpoints of DiffBEV's Lift-Splat-Shoot: names of mmseg's Swin, its head and its transformer."""

import re

import pytest
import torch
from torch import nn

from mmopt.engine.checkpoint_io import load_weights
from mmopt.models.bev.diffbev_weights import convert_diffbev
from mmopt.registry import MODELS
from mmopt.utils.errors import UserError

MODEL = dict(
    type='LSSSegmentor',
    backbone=dict(
        type='SwinTransformer', embed_dims=24, depths=(2, 2), num_heads=(2, 4), out_indices=(1,), window_size=4
    ),
    neck=dict(type='LiftSplatNeck', in_channels=48, out_channels=16, image_size=(64, 64)),
    head=dict(type='PyramidHead', in_channels=16, channels=(32, 16), num_blocks=(2, 1)),
)
BACK = [
    (r'^backbone\.patch_embed\.proj\.', 'backbone.patch_embed.projection.'),
    (r'^backbone\.layers\.', 'backbone.stages.'),
    (r'\.attn\.(?=qkv|proj|relative)', '.attn.w_msa.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
    (r'^neck\.depthnet\.', 'transformer.depthnet.'),
    (r'\.shortcut\.conv\.', '.downsample.0.'),
    (r'\.shortcut\.norm\.', '.downsample.1.'),
    (r'^(head\.stages.*)\.norm(\d)\.', r'\1.bn\2.'),
    (r'^head\.stages\.', 'decode_head.topdown.'),
    (r'^head\.classifier\.', 'decode_head.classifier.'),
]


def by_diffbevs_names(state: dict) -> dict:
    """Rename our weights as DiffBEV does, and permute those of patch merging by mmseg's own rule."""
    renamed = {}
    for name, value in state.items():
        if '.downsample.' in name and name.startswith('backbone'):
            four = value.reshape(*value.shape[:-1], 4, -1)[..., [0, 2, 1, 3], :]
            value = four.transpose(-1, -2).reshape(value.shape)
        for pattern, theirs in BACK:
            name = re.sub(pattern, theirs, name)
        renamed[name] = value
    for name in [name for name in renamed if name.endswith('w_msa.qkv.weight')]:
        renamed[name.replace('qkv.weight', 'relative_position_index')] = torch.zeros(16, 16, dtype=torch.int64)
    return renamed | {f'transformer.{name}': torch.zeros(3) for name in ('dx', 'bx', 'nx', 'frustum')}


@pytest.fixture(scope='module')
def trained():
    torch.manual_seed(0)
    model = MODELS.build(MODEL)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model.state_dict()


def test_every_weight_of_a_diffbev_checkpoint_lands_in_its_place(trained):
    theirs = by_diffbevs_names(trained)
    assert not any(name.startswith(('neck', 'head')) for name in theirs)
    assert convert_diffbev(theirs).keys() == trained.keys()
    assert all(torch.equal(value, trained[name]) for name, value in convert_diffbev(theirs).items())


def test_a_file_loads_whole_as_load_from_does_it(trained, tmp_path):
    torch.save(dict(meta=dict(epoch=1), state_dict=by_diffbevs_names(trained)), tmp_path / 'diffbev.pth')
    model = MODELS.build(MODEL)
    report = load_weights(model, tmp_path / 'diffbev.pth', strict=True)
    assert report.complete
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())


def test_another_number_of_classes_is_reported_and_the_rest_loads(trained, tmp_path):
    state = by_diffbevs_names(trained)
    state['decode_head.classifier.weight'] = state['decode_head.classifier.weight'][:1]
    state['decode_head.classifier.bias'] = state['decode_head.classifier.bias'][:1]
    torch.save(dict(state_dict=state), tmp_path / 'kitti.pth')
    report = load_weights(MODELS.build(MODEL), tmp_path / 'kitti.pth')
    assert len(report.mismatched) == 2
    assert not report.missing
    assert not report.unexpected
    with pytest.raises(UserError, match='head.classifier.weight'):
        load_weights(MODELS.build(MODEL), tmp_path / 'kitti.pth', strict=True)


def test_the_order_of_patch_merging_is_that_of_unfold():
    """mmseg unfolds 2x2 squares; ours concatenates four patches: converted weights give the same sums."""
    torch.manual_seed(0)
    reduction, image = torch.randn(6, 12), torch.randn(1, 3, 4, 4)
    theirs = nn.functional.unfold(image, 2, stride=2).transpose(1, 2) @ reduction.T
    converted = convert_diffbev(
        {'backbone.stages.0.downsample.reduction.weight': reduction, 'transformer.depthnet.bias': torch.zeros(1)}
    )['backbone.layers.0.downsample.reduction.weight']
    from mmopt.models.common.swin import _PatchMerging

    merging = _PatchMerging(3, dict(type='LN'))
    merging.reduction = nn.Linear(12, 6, bias=False)
    merging.norm = nn.Identity()
    merging.reduction.weight.data = converted
    ours, *_ = merging(image.permute(0, 2, 3, 1).reshape(16, 3), (1, 4, 4))
    torch.testing.assert_close(ours, theirs[0])


def test_our_own_checkpoints_stay_as_they_are(trained):
    assert list(convert_diffbev(trained)) == list(trained)
