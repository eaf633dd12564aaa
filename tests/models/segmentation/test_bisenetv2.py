"""The backbone and heads against the published table, layer by layer."""

import itertools

import pytest
import torch
from mmengine.config import Config
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from mmopt.config.late import resolve_late
from mmopt.models.segmentation import BiSeNetV2, SegmentationHead
from mmopt.registry import MODELS
from mmopt.utils.flops import count_flops
from tests.conftest import REPO
from tests.models.segmentation.conftest import build, make_batch


class Literal:
    """Table 1 and figures 4-6 of the paper, one call per box, on the weights of a model in evaluation mode."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def bn(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f'{name}.{key}'][None, :, None, None]
            for key in ('running_mean', 'running_var', 'weight', 'bias')
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(self, x: Tensor, name: str, stride: int = 1, relu: bool = True, depthwise: bool = False) -> Tensor:
        weight = self.state[f'{name}.conv.weight']
        groups = x.shape[1] if depthwise else 1
        x = F.conv2d(x, weight, stride=stride, padding=(weight.shape[-1] - 1) // 2, groups=groups)
        x = self.bn(x, f'{name}.norm')
        return x.clamp(min=0) if relu else x

    def detail(self, x: Tensor) -> Tensor:
        for stage, repeats in enumerate((2, 3, 3)):
            for index in range(repeats):
                x = self.conv(x, f'detail.{stage}.{index}', stride=2 if index == 0 else 1)
        return x

    def stem(self, x: Tensor) -> Tensor:
        x = self.conv(x, 'semantic.0.first', 2)
        left = self.conv(self.conv(x, 'semantic.0.convs.0'), 'semantic.0.convs.1', 2)
        right = F.max_pool2d(x, 3, 2, 1)
        return self.conv(torch.cat([left, right], 1), 'semantic.0.fuse')

    def gather_expand(self, x: Tensor, name: str, stride: int) -> Tensor:
        branch = self.conv(x, f'{name}.gather')
        if stride == 1:
            branch = self.conv(branch, f'{name}.expand', depthwise=True)
            return (self.conv(branch, f'{name}.project', relu=False) + x).clamp(min=0)
        # The expanding depth-wise convolution gives 6 channels for each of its input's.
        weight = self.state[f'{name}.expand.0.conv.weight']
        branch = F.conv2d(branch, weight, stride=2, padding=1, groups=x.shape[1])
        branch = self.bn(branch, f'{name}.expand.0.norm')
        branch = self.conv(branch, f'{name}.expand.1', depthwise=True)
        branch = self.conv(branch, f'{name}.project', relu=False)
        shortcut = self.conv(x, f'{name}.shortcut.0', 2, relu=False, depthwise=True)
        return (branch + self.conv(shortcut, f'{name}.shortcut.1', relu=False)).clamp(min=0)

    def semantic(self, x: Tensor) -> list[Tensor]:
        outputs = [self.stem(x)]
        for stage, strides in enumerate(((2, 1), (2, 1), (2, 1, 1, 1)), start=1):
            x = outputs[-1]
            for index, stride in enumerate(strides):
                x = self.gather_expand(x, f'semantic.{stage}.{index}', stride)
            outputs.append(x)
        return outputs

    def context(self, x: Tensor) -> Tensor:
        mean = self.conv(self.bn(F.adaptive_avg_pool2d(x, 1), 'context.norm'), 'context.embed')
        return self.conv(x + mean, 'context.fuse')

    def separable(self, x: Tensor, name: str) -> Tensor:
        x = self.conv(x, f'{name}.0', relu=False, depthwise=True)
        return F.conv2d(x, self.state[f'{name}.1.weight'])

    def aggregate(self, detail: Tensor, semantic: Tensor) -> Tensor:
        keep = self.separable(detail, 'aggregate.detail_keep')
        down = F.avg_pool2d(self.conv(detail, 'aggregate.detail_down.0', 2, relu=False), 3, 2, 1)
        guide = self.conv(semantic, 'aggregate.semantic_up', relu=False)
        guide = F.interpolate(guide, scale_factor=4, mode='bilinear', align_corners=False)
        left = keep * torch.sigmoid(guide)
        right = down * torch.sigmoid(self.separable(semantic, 'aggregate.semantic_keep'))
        right = F.interpolate(right, scale_factor=4, mode='bilinear', align_corners=False)
        return self.conv(left + right, 'aggregate.fuse')


def with_random_statistics(model: torch.nn.Module) -> torch.nn.Module:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    return model.eval()


def test_the_network_equals_a_literal_one_written_from_the_papers_table():
    model = with_random_statistics(BiSeNetV2())
    literal = Literal(model.state_dict())
    image = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        features = model(image)
        stages = literal.semantic(image)
        want = literal.aggregate(literal.detail(image), literal.context(stages[-1]))
    for got, expected in zip(features.stages, stages, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.fused_BCHW, want, rtol=1e-4, atol=1e-4)
    assert [feat.shape[1:] for feat in features.stages] == [(16, 16, 32), (32, 8, 16), (64, 4, 8), (128, 2, 4)]
    assert features.fused_BCHW.shape == (1, 128, 8, 16)
    assert features.fine_BCHW.shape == (1, 64, 32, 64)


def test_an_auxiliary_head_equals_a_literal_one():
    head = with_random_statistics(
        SegmentationHead(in_channels=6, channels=8, num_classes=5, refine_channels=4, dropout=0.5)
    )
    torch.nn.init.normal_(head.classifier.bias)
    state, feat = head.state_dict(), torch.randn(2, 6, 7, 9)
    literal = Literal(state)
    want = literal.bn(F.conv2d(feat, state['conv.weight'], padding=1), 'norm').clamp(min=0)
    want = want.repeat_interleave(2, 2).repeat_interleave(2, 3)
    want = literal.bn(F.conv2d(want, state['refine.weight'], padding=1), 'norm_refine').clamp(min=0)
    want = F.conv2d(want, state['classifier.weight'], state['classifier.bias'])
    torch.testing.assert_close(head(feat), want, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope='module')
def published() -> torch.nn.Module:
    return MODELS.build(
        resolve_late(Config.fromfile(str(REPO / 'configs/_base_/models/bisenetv2.py')).to_dict())['model']
    )


def test_the_published_model_has_its_published_number_of_parameters(published):
    sizes = {name: sum(p.numel() for p in getattr(published, name).parameters()) for name in ('backbone', 'head')}
    # 2.16 M and 1.20 M run; the auxiliary heads are there for the loss.
    assert sizes == dict(backbone=2_157_456, head=1_201_171)
    assert sum(p.numel() for p in published.parameters()) == 5_231_487


def test_the_published_model_costs_what_its_table_adds_up_to(published):
    """24.60 billion multiplications at 512x1024 without auxiliary heads; the paper states 21.15.

    The 3.45 in between are none of its boxes: without any one to four of the 20 there is no 21.15 either.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        image = torch.empty(1, 3, 512, 1024)
        total = count_flops(lambda: published.eval()(image)) / 2
    place = 512 * 1024
    detail = [9 * 3 * 64 / 4, 9 * 64 * 64 / 4, *[9 * 64 * 64 / 16] * 3, 9 * 64 * 128 / 64, *[9 * 128 * 128 / 64] * 2]
    head = [9 * 128 * 1024 / 64, 1024 * 19 / 64]
    aggregation = [
        128 * (9 + 128) / 64,  # detail, kept
        9 * 128 * 128 / 256,  # detail, strided
        9 * 128 * 128 / 1024,  # semantic, enlarged
        128 * (9 + 128) / 1024,  # semantic, kept
        9 * 128 * 128 / 64,  # their sum
    ]
    context = 9 * 128 * 128 / 1024 + 128 * 128 / place
    stem = 9 * 3 * 16 / 4 + (16 * 8 * 4 + 9 * 8 * 16 + 9 * 32 * 16) / 16
    semantic = [
        _gather_expand(*stage) for stage in ((16, 32, 8, 2), (32, 64, 16, 2), (64, 128, 32, 4))
    ]  # fmt: skip
    boxes = [place * box for box in (*detail, *head, *aggregation, context, stem, *semantic)]
    assert total == sum(boxes)
    assert total / 1e9 == pytest.approx(24.60, abs=0.005)
    assert len(boxes) == 20
    left_out = [sum(some) for count in (1, 2, 3, 4) for some in itertools.combinations(boxes, count)]
    assert not any(abs((total - some) / 1e9 - 21.15) < 0.005 for some in left_out)


def _gather_expand(in_channels: int, channels: int, stride: int, count: int) -> float:
    """Multiplications per image pixel of a stage: the first layer halves the size, the others keep it."""
    before, after = 1 / (stride // 2) ** 2, 1 / stride**2
    wide = 6 * in_channels
    first = 9 * in_channels**2 * before + (9 * wide + 9 * wide + wide * channels) * after
    first += (9 * in_channels + in_channels * channels) * after
    return first + (count - 1) * (9 * channels**2 + 9 * 6 * channels + 6 * channels**2) * after


@pytest.mark.parametrize('size', [(64, 96), (57, 90), (33, 65)])
def test_images_of_any_size_give_logits_of_their_size(size):
    with torch.no_grad():
        assert build().eval()(torch.randn(2, 3, *size)).shape == (2, 4, *size)


def test_one_image_trains_although_its_mean_has_no_statistics():
    model = build()
    before = model.backbone.context.norm.running_mean.clone()
    batch = make_batch(1)
    sum(model(**batch, mode='loss').values()).backward()
    assert all(param.grad is not None for param in model.parameters())
    assert torch.equal(model.backbone.context.norm.running_mean, before)
    assert model.backbone.context.norm.training


def test_branches_that_cannot_be_multiplied_are_refused():
    with pytest.raises(ValueError, match=r'end alike .*got \(8, 8, 16\) and \(4, 8, 8, 32\)'):
        BiSeNetV2(detail_channels=(8, 8, 16), semantic_channels=(4, 8, 8, 32))
