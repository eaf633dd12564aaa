import copy

import pytest
import torch
from mmengine.config import Config
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmopt.config.late import resolve_late
from mmopt.models.bev import LSSSegmentor
from mmopt.ops.bev_labels import decode_label_bits
from mmopt.ops.windows import window_layout
from mmopt.registry import MODELS
from mmopt.structures import DataSample, split_batch
from mmopt.utils.flops import count_flops
from tests.conftest import REPO

SMALL = dict(
    type='LSSSegmentor',
    backbone=dict(type='SwinTransformer', embed_dims=16, depths=(2, 2), num_heads=(1, 2), window_size=3,
                  patch_size=16, out_indices=(1,)),
    neck=dict(type='LiftSplatNeck', in_channels=32, out_channels=16, image_size=(96, 128), exact_reference=True,
              x_bound=(-6.0, 6.0, 0.5), z_bound=(1.0, 11.0, 0.5), depth_bound=(1.0, 11.0, 1.0)),
    head=dict(type='PyramidHead', in_channels=16, channels=(4, 4), num_blocks=(2, 2),
              norm_cfg=dict(type='GN', num_groups=2)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    # Thousands of tiny kernels: threads that wait for each other cost more than they give.
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture
def model() -> LSSSegmentor:
    model = MODELS.build(copy.deepcopy(SMALL))
    # The classifier begins at zero and would hide every other gradient.
    torch.nn.init.normal_(model.head.classifier.weight, std=0.1)
    return model


def make_batch(model: LSSSegmentor, count: int = 3, **fields) -> dict:
    samples = []
    for index in range(count):
        matrix = torch.tensor([[100.0 + index, 0.0, 64.0], [0.0, 130.0, 50.0], [0.0, 0.0, 1.0]])
        bits = torch.randint(0, 1 << 14, (40, 48), dtype=torch.int32)
        bits |= (torch.rand(40, 48) < 0.2 * index).int() << 14  # another share of cells counts in every sample
        samples.append(DataSample(intrinsics=matrix, label_bits=bits, **fields))
    inputs = torch.randint(0, 256, (count, 3, 96, 128), dtype=torch.uint8)
    return model.data_preprocessor(dict(inputs=inputs, data_samples=samples))


def gradients(model: LSSSegmentor, *parts: dict, normalizers: dict | None = None) -> list[torch.Tensor]:
    model.zero_grad()
    for part in parts:
        losses = model(**part, mode='loss', normalizers=normalizers)
        sum(value for key, value in losses.items() if key.startswith('loss')).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_micro_batches_add_up_to_the_full_gradients(model):
    batch = make_batch(model)
    full = gradients(model, batch)
    normalizers = model.loss_normalizers(batch['data_samples'])
    parts = gradients(model, *split_batch(batch, 2), normalizers=normalizers)
    for name, a, b in zip(dict(model.named_parameters()), full, parts, strict=True):
        assert (a - b).norm() <= 1e-5 * a.norm(), name


def test_samples_of_a_batch_do_not_mix(model):
    batch = make_batch(model)
    with torch.no_grad():
        both = model(**batch)
        alone = torch.cat([model(**part) for part in split_batch(batch, 1)])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)


class HostTensors(TorchDispatchMode):
    """Count tensors made of Python numbers: on a GPU each is a copy that waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.lift_fresh.default
        return func(*args, **(kwargs or {}))


def test_a_step_makes_no_tensor_of_numbers_on_the_host(model):
    batch = make_batch(model)
    for sample in batch['data_samples']:
        sample.photometric = torch.tensor([8.0, 1.2, 0.7, 3.0, 1.0])
    images = torch.randint(0, 256, (3, 3, 96, 128), dtype=torch.uint8)
    model(**batch)  # fills the caches of the first step
    with HostTensors() as made:
        ready = model.data_preprocessor(dict(inputs=images, data_samples=batch['data_samples']), training=True)
        normalizers = model.loss_normalizers(ready['data_samples'])
        model(**ready, mode='loss', normalizers=normalizers)['loss_seg'].backward()
    assert made.count == 0


def test_every_parameter_gets_a_gradient(model):
    grads = gradients(model, make_batch(model))
    without = [name for name, grad in zip(dict(model.named_parameters()), grads, strict=True) if not grad.any()]
    assert without == []


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_is_near_float32(model, dtype):
    batch = make_batch(model)
    plain = model(**batch, mode='loss')
    with torch.autocast('cpu', dtype=dtype):
        half = model(**batch, mode='loss')
        logits = model(**batch)
    torch.testing.assert_close(half['loss_seg'], plain['loss_seg'], rtol=0.02, atol=0)
    assert half['loss_seg'].dtype == torch.float32
    assert (logits.float() - model(**batch)).abs().mean() < 0.1
    half['loss_seg'].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_losses_equal_the_originals_formula(model):
    batch = make_batch(model)
    logits = model(**batch)
    maps = decode_label_bits(torch.stack([sample.label_bits for sample in batch['data_samples']]))
    labels, valid, priors = maps[:, :14].float(), maps[:, 14:].float(), model.head.priors_P[:, None, None]
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(logits, labels, valid * (1 + (torch.sqrt(1 / priors) - 1) * labels))
    uncertainty = 0.001 * (bce(logits, priors.expand_as(logits), reduction='none') * (1 - valid)).mean()
    losses = model(**batch, mode='loss')
    torch.testing.assert_close(losses, dict(loss_seg=expected, loss_uncertainty=uncertainty))


def test_predictions_are_the_thresholded_probabilities_in_label_format(model):
    batch = make_batch(model)
    with torch.no_grad():
        samples = model.eval()(**batch, mode='predict')
        probabilities = model(**batch).sigmoid()
    assert samples[1] is batch['data_samples'][1]
    for sample, probability in zip(samples, probabilities, strict=True):
        assert torch.equal(decode_label_bits(sample.pred_bits)[:14], probability > 0.5)


def test_depth_supervision_adds_its_loss_and_splits_exactly():
    model = MODELS.build(copy.deepcopy(SMALL) | dict(depth_weight=0.5))
    depth = torch.zeros(3, 4)
    depth[1, 1:3] = torch.tensor([2.5, 90.0])
    batch = make_batch(model, depth=depth)
    normalizers = model.loss_normalizers(batch['data_samples'])
    assert normalizers['num_depths'] == 3
    loss = model(**batch, mode='loss')['loss_depth']
    parts = [model(**part, mode='loss', normalizers=normalizers)['loss_depth'] for part in split_batch(batch, 1)]
    torch.testing.assert_close(sum(parts), loss)
    # Barely trained depth is near uniform over 10 bins.
    assert 0.5 * 1.5 < loss < 0.5 * 3.5


def test_a_few_steps_on_one_sample_find_its_large_areas():
    model = MODELS.build(copy.deepcopy(SMALL))
    batch = make_batch(model, count=1)
    bits = torch.full((40, 48), 1 << 14, dtype=torch.int32)  # beside the camera's view no cell counts
    bits[:, 16:32] = 1  # drivable area near, walkway far left
    bits[24:, 16:32] = 0
    bits[24:, 16:24] = 1 << 2
    batch['data_samples'][0].label_bits = bits
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        sum(model(**batch, mode='loss').values()).backward()
        optimizer.step()
    pred = decode_label_bits(model(**batch, mode='predict')[0].pred_bits)
    target = decode_label_bits(bits)
    ious = []
    for index in (0, 2):
        overlap, union = pred[index] & target[index], (pred[index] | target[index]) & target[14]
        ious.append(float(overlap.sum() / union.sum()))
    # The best prediction without the image, each class everywhere, has 0.6 and 0.2: a mean of 0.4. Reached over seeds
    # 0 to 2, float32 and bfloat16, with AVX512 and with AVX2 alone: 0.87 to 1.
    assert sum(ious) / 2 > 0.7


def test_missing_fields_say_who_sets_them(model):
    batch = make_batch(model)
    del batch['data_samples'][1].intrinsics
    with pytest.raises(ValueError, match="needs the field 'intrinsics' of every sample, got a sample without it"):
        model(**batch)
    with pytest.raises(ValueError, match='got no data_samples'):
        model(batch['inputs'])


def test_labels_of_another_size_say_which_options_disagree(model):
    batch = make_batch(model)
    for sample in batch['data_samples']:
        sample.label_bits = sample.label_bits[:20]
    with pytest.raises(ValueError, match=r'logits are \(3, 14, 40, 48\) but labels give \(3, 14, 20, 48\)'):
        model(**batch, mode='loss')


def test_an_unknown_mode_is_rejected(model):
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        model(**make_batch(model), mode='train')


def test_the_baseline_config_builds_the_originals_sizes_in_its_exact_geometry():
    model = MODELS.build(
        resolve_late(Config.fromfile(str(REPO / 'configs/_base_/models/lss_swin.py')).to_dict())['model']
    )
    sizes = {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in ('backbone', 'neck', 'head')}
    assert sizes == dict(backbone=27_519_354, neck=86_897, head=1_951_758)
    assert model.neck.geometry.exact_reference
    assert model.neck.geometry.grid_size == (98, 100)


def test_a_step_of_the_baseline_costs_what_the_original_costs_less_the_padding():
    """430 GFLOP per sample were counted on the original (backbone forward 91.8, head 51.5)."""
    model = MODELS.build(
        resolve_late(Config.fromfile(str(REPO / 'configs/_base_/models/lss_swin.py')).to_dict())['model']
    )
    for height, width in ((150, 200), (75, 100), (38, 50), (19, 25)):
        for shift in (0, 3):
            window_layout(1, height, width, 7, shift, torch.device('cpu'))  # real indices; the rest computes nothing
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        image, grid = torch.empty(1, 3, 600, 800), torch.empty(1, 64, 98, 100)
        backbone_gflop = count_flops(lambda: model.backbone(image)) / 1e9
        head_gflop = count_flops(lambda: model.head(grid)) / 1e9
    assert 90 < backbone_gflop < 91.8
    assert head_gflop == pytest.approx(51.5, abs=0.1)
