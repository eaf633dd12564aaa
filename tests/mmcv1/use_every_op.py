"""Use every public class and function of `mmcv.ops` that runs on our extension; print their names.

A script: it needs a process in which nothing of mmcv has been imported.
"""

import torch

from mmopt.mmcv1.extension import install_extension

assert install_extension()

import mmcv  # noqa: E402 (the extension must be there first)
from mmcv import ops  # noqa: E402
from mmcv.ops.carafe import CARAFENaive  # noqa: E402
from mmcv.ops.multi_scale_deform_attn import (  # noqa: E402
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

used = []


def check(name: str, output: torch.Tensor, *inputs: torch.Tensor) -> None:
    """Every input gets a gradient that is finite and not 0."""
    assert output.isfinite().all(), name
    for grad in torch.autograd.grad(output.square().sum(), inputs):
        assert grad.isfinite().all(), name
        assert grad.any(), name
    used.append(name)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


torch.manual_seed(0)
features = draw(2, 4, 8, 8)
rois = torch.tensor([[0, 0.5, 1, 6, 7], [1, 2, 2, 3, 8.5]])
for mode in ('avg', 'max'):
    check(f'RoIAlign({mode})', ops.RoIAlign(2, pool_mode=mode)(features, rois), features)
check('RoIPool', ops.RoIPool(2)(features, rois), features)
moves = draw(2, 2, 2, 2)
check('DeformRoIPool', ops.DeformRoIPool(2)(features, rois, moves), features, moves)
ops.DeformRoIPool(2)(features, rois[:0]).sum().backward()  # what a picture without objects gives
for kind in (ops.DeformRoIPoolPack, ops.ModulatedDeformRoIPoolPack):
    check(kind.__name__, kind(2, 4, 8)(features, rois), features)
turned = torch.tensor([[0, 4, 4, 5, 3, 0.5], [1, 4, 4, 3, 3, -2.0]])
check('RoIAlignRotated', ops.RoIAlignRotated(2, 1.0)(features, turned), features)

logits, labels = draw(5, 3), torch.tensor([0, 1, 2, 3, 3])
check('SigmoidFocalLoss', ops.SigmoidFocalLoss(2.0, 0.25)(logits, labels), logits)
weight = torch.tensor([1.0, 2.0, 0.5])
check('SoftmaxFocalLoss', ops.SoftmaxFocalLoss(2.0, 0.25, weight)(logits, labels.clamp(max=2)), logits)

offset = draw(2, 18, 8, 8)
for groups in (1, 2):
    layer = ops.DeformConv2d(4, 6, 3, padding=1, groups=groups)
    check(f'DeformConv2d(groups={groups})', layer(features, offset), features, offset, layer.weight)
pack = ops.DeformConv2dPack(4, 6, 3, padding=1)
check('DeformConv2dPack', pack(features), features, *pack.parameters())
mask = draw(2, 9, 8, 8)
layer = ops.ModulatedDeformConv2d(4, 6, 3, padding=1)
check('ModulatedDeformConv2d', layer(features, offset, mask), features, offset, mask, *layer.parameters())
pack = ops.ModulatedDeformConv2dPack(4, 6, 3, padding=1)
check('ModulatedDeformConv2dPack', pack(features), features, *pack.parameters())
with torch.autocast('cpu', dtype=torch.bfloat16):
    assert pack(features).dtype == torch.bfloat16
check('SAConv2d', ops.SAConv2d(4, 4, 3, padding=1, use_deform=True)(features), features)

plain = torch.nn.Conv2d(4, 6, 3, padding=1)
masked = ops.MaskedConv2d(4, 6, 3, padding=1)
masked.load_state_dict(plain.state_dict())
where = torch.rand(1, 8, 8) > 0.5
torch.testing.assert_close(
    masked(features[:1], where)[0][:, where[0]], plain(features[:1])[0][:, where[0]], rtol=1e-4, atol=1e-5
)
used.append('MaskedConv2d')

for kind in ('collect', 'distribute'):
    relative = draw(2, 15, 4, 5)
    check(f'PSAMask({kind})', ops.PSAMask(kind, (3, 5))(relative), relative)
check('CARAFEPack', ops.CARAFEPack(4, 2)(features), features)
weights = draw(2, 18, 16, 16)
both = [ops.CARAFE(3, 2, 2)(features, weights), CARAFENaive(3, 2, 2)(features, weights)]
assert torch.equal(*both)
check('CARAFE', both[0], features, weights)
clips = draw(2, 3, 4, 5)
check('TINShift', ops.TINShift()(clips, torch.tensor([[1, -1], [0, 1]])), clips)
check('CornerPool', ops.CornerPool('top')(features), features)
crossed = draw(1, 8, 3, 4)
check('CrissCrossAttention', ops.CrissCrossAttention(8)(crossed), crossed)

shapes, first = torch.tensor([[4, 4], [2, 2]]), torch.tensor([0, 16])
value, places, attention = draw(1, 20, 2, 3), torch.rand(1, 5, 2, 2, 3, 2), draw(1, 5, 2, 2, 3)
places.requires_grad_()
expected = multi_scale_deformable_attn_pytorch(value, shapes, places, attention)
attended = MultiScaleDeformableAttnFunction.apply(value, shapes, first, places, attention, 64)
torch.testing.assert_close(attended, expected, rtol=1e-4, atol=1e-5)
inputs = value, places, attention
for grad, expected_grad in zip(
    torch.autograd.grad(attended.square().sum(), inputs),
    torch.autograd.grad(expected.square().sum(), inputs),
    strict=True,
):
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-4)
used.append('MultiScaleDeformableAttnFunction')

boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
scores = torch.tensor([0.5, 0.9, 0.1])
assert ops.nms(boxes, scores, 0.5)[1].tolist() == [1, 2]
assert ops.nms(boxes.numpy(), scores.numpy(), 0.5, score_threshold=0.2, max_num=5)[1].tolist() == [1]
assert ops.nms(boxes[:0], scores[:0], 0.5)[1].tolist() == []
assert ops.batched_nms(boxes, scores, torch.tensor([0, 1, 0]), {'type': 'nms', 'iou_threshold': 0.5})[1].tolist() == [
    1,
    0,
    2,
]
assert ops.soft_nms(boxes, scores, 0.5, method='naive')[1].tolist() == [1, 2]
kind = {'type': 'soft_nms', 'iou_threshold': 0.5}
assert ops.batched_nms(boxes, scores, torch.tensor([0, 0, 0]), kind)[1].tolist() == [1, 2, 0]
groups = ops.nms_match(torch.cat([boxes, scores[:, None]], dim=1), 0.5)
assert [group.tolist() for group in groups] == [[1, 0], [2]]
turned = torch.tensor([[0.0, 0, 4, 2, 0.1], [0, 0, 4, 2, 0.1], [9, 9, 2, 2, 1]])
for clockwise in (True, False):
    assert ops.nms_rotated(turned, scores, 0.5, clockwise=clockwise)[1].tolist() == [1, 2]
    assert ops.box_iou_rotated(turned, turned, clockwise=clockwise).shape == (3, 3)
assert ops.nms_rotated(turned, scores, 0.5, torch.tensor([0, 1, 0]))[1].tolist() == [1, 0, 2]
torch.testing.assert_close(ops.box_iou_rotated(turned, turned, aligned=True), torch.ones(3))
torch.testing.assert_close(ops.bbox_overlaps(boxes, boxes, aligned=True), torch.ones(3))
torch.testing.assert_close(ops.bbox_overlaps(boxes, boxes, mode='iof', offset=1)[1], torch.tensor([1.0, 1, 0]))
twice = torch.cat([turned, turned.roll(1, dims=0)])[None].requires_grad_()
others = torch.cat([turned, turned])[None]
overlaps = ops.diff_iou_rotated_2d(twice, others)[0]
torch.testing.assert_close(overlaps, ops.box_iou_rotated(twice.detach()[0], others[0], aligned=True))
check('diff_iou_rotated_2d', ops.diff_iou_rotated_2d(twice + 0.1, others), twice)
solid = torch.cat([twice[..., :2], torch.ones(1, 6, 1), twice[..., 2:4], torch.ones(1, 6, 1), twice[..., 4:]], dim=2)
check('diff_iou_rotated_3d', ops.diff_iou_rotated_3d(solid, solid.detach() + 0.1), twice)
refined = ops.rotated_feature_align(features, torch.rand(2, 8, 8, 5) * 8, 1.0, 5)
check('rotated_feature_align', refined, features)
filters, places = draw(3, 2, 4, 3, 3), torch.stack([torch.randperm(36) + 1 for _ in range(8)], dim=1)
turned_filters = ops.active_rotated_filter(filters, places.view(4, 3, 3, 8).int())
check('active_rotated_filter', turned_filters, filters)
used += ['nms', 'batched_nms', 'soft_nms', 'nms_match', 'nms_rotated', 'box_iou_rotated', 'bbox_overlaps']

cloud, centers = torch.rand(2, 9, 3), torch.rand(2, 4, 3)
distances, number = ops.three_nn(centers, cloud)
torch.testing.assert_close(distances, torch.cdist(centers, cloud).sort(dim=2).values[..., :3], rtol=1e-3, atol=1e-3)
of_points = draw(2, 5, 9)
check('three_interpolate', ops.three_interpolate(of_points, number, distances), of_points)
near = ops.ball_query(0, 0.5, 3, cloud, centers)
check('grouping_operation', ops.grouping_operation(of_points, near), of_points)
check('gather_points', ops.gather_points(of_points, near[..., 0].contiguous()), of_points)
check('QueryAndGroup', ops.QueryAndGroup(0.5, 3)(cloud, centers, of_points), of_points)
used += ['three_nn', 'ball_query']
assert 'mmopt' in ops.get_compiler_version()
assert 'mmopt' in ops.get_compiling_cuda_version()

print(mmcv.__version__, *(name.replace(' ', '') for name in used))
