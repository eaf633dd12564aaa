"""YOLOv5: sizes, losses, predictions, and what every model of mmopt keeps."""

import math

import pytest
import torch
from torch import nn

from mmopt.models.detection import AnchorDetector
from mmopt.ops.boxes import paired_iou
from mmopt.structures import split_batch
from tests.models.detection.conftest import BACKBONE, build, make_samples


def gradients(model, batch, size) -> list:
    model.zero_grad()
    normalizers = model.loss_normalizers(batch['data_samples'])
    for part in split_batch(batch, size):
        sum(model(**part, mode='loss', normalizers=normalizers).values()).backward()
    return [param.grad.clone() for param in model.parameters()]


@pytest.mark.parametrize(
    ('depth', 'width', 'millions', 'count'),
    [(0.33, 0.5, 7.2, 7235389), (0.67, 0.75, 21.2, 21190557), (1, 1, 46.5, 46563709), (1.33, 1.25, 86.7, 86749405)],
    ids='smlx',
)
def test_the_sizes_have_the_published_numbers_of_parameters(depth, width, millions, count):
    with torch.device('meta'):
        model = AnchorDetector(
            backbone=dict(type='mmopt.CSPDarknet', depth=depth, width=width),
            neck=dict(type='mmopt.PathAggregation', depth=depth),
            head=dict(type='mmopt.AnchorHead', num_classes=80),
        )
    reached = sum(param.numel() for param in model.parameters())
    assert reached == count
    assert reached / 1e6 == pytest.approx(millions, abs=0.1)


def test_fusion_has_two_backbones_and_keeps_the_channels_of_one():
    one = build()
    fused = build(backbone=dict(type='mmopt.FusionBackbone', backbones=[BACKBONE, BACKBONE]))
    samples = make_samples([(10, 10, 30, 25, 0)])
    sum(fused(torch.rand(1, 6, 96, 128), samples, mode='loss').values()).backward()
    assert all(param.grad is not None and param.grad.any() for param in fused.parameters())
    joints = sum(param.numel() for param in fused.backbone.joints.parameters())
    backbone = sum(param.numel() for param in one.backbone.parameters())
    assert sum(p.numel() for p in fused.parameters()) == sum(p.numel() for p in one.parameters()) + backbone + joints
    with pytest.raises(ValueError, match=r'the input has 3 channels, in_channels=\(3, 3\) needs 6'):
        fused(torch.rand(1, 3, 96, 128))


@pytest.mark.parametrize('size', [1, 3])
def test_micro_batched_gradients_equal_the_whole_batch(batch, size):
    model = build().eval()
    for got, want in zip(gradients(model, batch, size), gradients(model, batch, 4), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


def test_every_parameter_gets_a_gradient(batch):
    model = build()
    sum(model(**batch, mode='loss').values()).backward()
    assert not [name for name, param in model.named_parameters() if param.grad is None or not param.grad.any()]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_the_head_is_float32_under_autocast_and_losses_stay_close(batch, dtype):
    model = build().eval()
    want = model(**batch, mode='loss')
    with torch.autocast('cpu', dtype=dtype):
        got = model(**batch, mode='loss')
        assert all(level.dtype == torch.float32 for level in model(batch['inputs']))
    for name in want:
        assert got[name].dtype == torch.float32
        torch.testing.assert_close(got[name], want[name], rtol=0.03, atol=0.03)


def test_samples_of_a_batch_do_not_mix(batch):
    model = build().eval()
    whole = model(batch['inputs'])
    for index in range(4):
        for alone, together in zip(model(batch['inputs'][index : index + 1]), whole, strict=True):
            torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5)


def test_the_norm_of_the_config_reaches_every_norm():
    norm_cfg = dict(type='GN', num_groups=4)
    model = build(
        backbone=dict(
            type='mmopt.FusionBackbone', backbones=[dict(BACKBONE, norm_cfg=norm_cfg)] * 2, norm_cfg=norm_cfg
        ),
        neck=dict(type='mmopt.PathAggregation', depth=0.1, norm_cfg=norm_cfg),
    )
    assert any(isinstance(module, nn.GroupNorm) for module in model.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_losses_by_hand():
    """One box of the size of the anchor (10, 13), outputs all zero: its two cells predict that anchor, shifted."""
    model = build(max_ratio=1.2).eval()
    for conv in model.head.convs:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    # Center (20, 20.5): cell (2, 2), half a cell to the right (no neighbor), 0.5625 down (the neighbor below).
    samples = make_samples([(15, 14, 25, 27, 1)], size=(32, 32))
    losses = model(torch.rand(1, 3, 32, 32), samples, mode='loss')

    def iou(down_px: float) -> float:
        shared = 10 * (13 - down_px)
        return shared / (260 - shared)

    def ciou(down_px: float) -> float:
        return iou(down_px) - down_px**2 / (10**2 + (13 + down_px) ** 2)

    overlaps = [ciou(0.5), ciou(7.5)]  # the cell's own center lies at 20, that of the cell below at 28
    box = sum(1 - value for value in overlaps) / 2
    # BCE at 0 is log 2 whatever the target.
    assert losses['loss_box'].item() == pytest.approx(0.05 * box, rel=1e-5)
    assert losses['loss_objectness'].item() == pytest.approx((4 + 1 + 0.4) * math.log(2), rel=1e-5)
    assert losses['loss_class'].item() == pytest.approx(0.5 * math.log(2), rel=1e-5)


def test_the_objectness_learns_the_best_overlap_where_boxes_meet():
    """Two equal boxes of other sizes share their anchors: the order must not matter."""
    model = build().eval()
    rows = [(20, 20, 40, 44, 1), (20, 20, 41, 45, 1)]
    image = torch.rand(1, 3, 96, 128)
    one, other = (model(image, make_samples(order), mode='loss') for order in (rows, rows[::-1]))
    torch.testing.assert_close(one, other)


def test_a_batch_without_boxes_has_a_finite_loss_and_trains_the_objectness_alone():
    losses = build()(torch.rand(2, 3, 64, 64), make_samples([], [], size=(64, 64)), mode='loss')
    assert losses['loss_box'] == losses['loss_class'] == 0
    assert 0 < losses['loss_objectness'] < 10


def test_predictions_are_decoded_clipped_thresholded_and_suppressed():
    model = build(score_threshold=0.5).eval()
    for conv in model.head.convs:
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.bias, -20.0)
    outputs = model.head.convs[0].bias.view(3, 8)
    with torch.no_grad():
        outputs[0, :4] = 0.0  # the first anchor in the middle of every cell of stride 8
        outputs[0, 4], outputs[0, 6] = 3.0, 3.0
        (sample,) = model(torch.rand(1, 3, 32, 32), make_samples([], size=(32, 32)), mode='predict')
    assert len(sample.pred_boxes) == 16  # neighbors overlap by less than nms_iou
    assert sample.pred_labels.unique().tolist() == [1]
    assert sample.pred_boxes.min() == 0
    assert sample.pred_boxes.max() == 32
    assert sample.pred_scores.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item() ** 2] * 16)


def test_an_image_that_does_not_fit_the_strides_names_the_remedy():
    with pytest.raises(ValueError, match=r'is 90x128 .* multiples of 32: change the pipeline'):
        build()(torch.rand(1, 3, 90, 128))


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match=r"iou_loss must be one of \['ciou', 'giou'\], got 'diou'"):
        build(iou_loss='diou')
    with pytest.raises(ValueError, match='in_channels has 3 levels, strides 3, and anchors'):
        build(head=dict(type='mmopt.AnchorHead', num_classes=3, anchors=[[(1, 2)], [(3, 4)]]))


NORM_CFG = dict(type='BN', momentum=0.1)
"""Statistics follow within the few iterations of a test."""


def draw_squares(count: int, generator: torch.Generator, first_channel: int = 0, num_channels: int = 3) -> dict:
    """Noise with a bright square in the channel of its class, counted from ``first_channel``."""
    images, rows = torch.rand(count, num_channels, 64, 64, generator=generator) * 0.3, []
    for image in images:
        x, y = torch.randint(0, 44, (2,), generator=generator).tolist()
        kind = int(torch.randint(0, 2, (), generator=generator))
        image[first_channel + kind, y : y + 20, x : x + 20] += 0.7
        rows.append([(x, y, x + 20, y + 20, kind)])
    return dict(inputs=images, data_samples=make_samples(*rows, size=(64, 64)))


# The learning rate falls to zero: at a constant one, 27 to 40 of 40 squares were found, by a chance that differs from
# CPU to CPU. Found now, over seeds 0 to 2, float32 and bfloat16, one and two threads, with AVX512 and with AVX2 alone:
# 39 or 40 of 40 by either model, and 0 to 2 of 40 after the fused one's images are swapped.
NUM_STEPS, NUM_IMAGES = 120, 40


def learn(model: AnchorDetector, draw) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, NUM_STEPS)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        sum(model(**draw(8), mode='loss').values()).backward()
        optimizer.step()
        falling.step()


def count_found(model: AnchorDetector, batch: dict) -> int:
    """Return in how many images the best prediction is the square, and of its class."""
    found = 0
    for sample in model.eval()(**batch, mode='predict'):
        if len(sample.pred_boxes):
            overlap = paired_iou(sample.pred_boxes[:1], sample.boxes)
            found += bool(overlap > 0.5 and sample.pred_labels[0] == sample.labels[0])
    return found


def test_a_detector_learns_to_find_a_square():
    generator = torch.Generator().manual_seed(0)
    model = build(
        backbone=dict(BACKBONE, norm_cfg=NORM_CFG),
        neck=dict(type='mmopt.PathAggregation', depth=0.1, norm_cfg=NORM_CFG),
        head=dict(type='mmopt.AnchorHead', num_classes=2),
    )
    learn(model, lambda count: draw_squares(count, generator))
    assert count_found(model, draw_squares(NUM_IMAGES, generator)) >= 30


def test_a_fused_detector_learns_to_find_what_only_the_event_frame_shows():
    generator = torch.Generator().manual_seed(0)
    branch = dict(BACKBONE, norm_cfg=NORM_CFG)
    model = build(
        backbone=dict(type='mmopt.FusionBackbone', backbones=[branch, branch], norm_cfg=NORM_CFG),
        neck=dict(type='mmopt.PathAggregation', depth=0.1, norm_cfg=NORM_CFG),
        head=dict(type='mmopt.AnchorHead', num_classes=2),
    )

    def draw(count: int) -> dict:
        return draw_squares(count, generator, first_channel=3, num_channels=6)

    learn(model, draw)
    batch = draw(NUM_IMAGES)
    assert count_found(model, batch) >= 30
    swapped = dict(batch, inputs=batch['inputs'].roll(3, dims=1))
    assert count_found(model, swapped) <= 10  # the branches have learnt what is theirs
