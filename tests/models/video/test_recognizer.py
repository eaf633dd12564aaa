"""What holds for all encoders and all ways of fusing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmopt.engine.loops.step import TrainStep
from mmopt.engine.optim import OptimWrapper
from mmopt.engine.switches import Effect, apply_to_model
from mmopt.models.video import VideoPreprocessor
from mmopt.structures import split_batch
from tests.models.video.conftest import ENCODERS as CONFIGS
from tests.models.video.conftest import VIEWS, build

ENCODERS = pytest.mark.parametrize('encoder', ['conv3d', 'transformer', 'mamba'])
LATE = ['LogitFusion', 'ProbabilityFusion', 'FeatureMeanFusion', 'FeatureConcatFusion', 'CrossViewAttention']
MODELS = [
    *(dict(encoder=encoder) for encoder in ('conv3d', 'transformer', 'mamba')),
    *(dict(keypoints=True, fusion=dict(type=f'mmopt.{late}')) for late in LATE),
    dict(share_weights=False, keypoints=True),
    dict(early_fusion='add'),
    dict(encoder='conv3d', early_fusion='concat'),
    dict(early_fusion='concat', keypoints=True),
    dict(encoder=None, keypoints=True),
    dict(encoder=CONFIGS['transformer'] | dict(strides=(2, 2, 2), time_stride=2)),
]
EVERY = pytest.mark.parametrize('options', MODELS, ids=lambda options: '-'.join(map(str, options.values())))


def gradients(model, batch, size) -> list:
    model.zero_grad()
    normalizers = model.loss_normalizers(batch['data_samples'])
    for part in split_batch(batch, size):
        model(**part, mode='loss', normalizers=normalizers)['loss_cls'].backward()
    return [param.grad.clone() for param in model.parameters()]


@EVERY
def test_micro_batched_gradients_equal_the_whole_batch(options, batch):
    """Dropout off; the batch has a sample without a label, so parts weigh differently."""
    model = build(**options).eval()
    want = gradients(model, batch, 4)
    for size in (1, 3):
        for got, expected in zip(gradients(model, batch, size), want, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item() + 1e-9)


@EVERY
def test_every_parameter_gets_a_gradient(options, batch):
    model = build(**options)
    model(**batch, mode='loss')['loss_cls'].backward()
    missing = [name for name, param in model.named_parameters() if param.grad is None or not param.grad.any()]
    assert not missing


@EVERY
def test_samples_of_a_batch_do_not_mix(options, batch):
    model = build(**options).eval()
    want = model(batch['inputs'])
    for index in range(4):
        one = {name: value[index : index + 1] for name, value in batch['inputs'].items()}
        torch.testing.assert_close(model(one), want[index : index + 1], rtol=1e-4, atol=1e-5)


@EVERY
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_losses_under_autocast_are_close_to_float32(options, batch, dtype):
    model = build(**options).eval()
    want = model(**batch, mode='loss')['loss_cls']
    with torch.autocast('cpu', dtype=dtype):
        got = model(**batch, mode='loss')['loss_cls']
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0.03, atol=0.03)


@pytest.mark.parametrize('name', ['conv3d', 'transformer', 'mamba', 'stgcn'])
def test_checkpointed_blocks_give_the_plain_gradients_and_keep_less(name, batch):
    def make(optimize):
        torch.manual_seed(0)
        model = build(None, keypoints=True) if name == 'stgcn' else build(name)
        (effect,) = apply_to_model(model, optimize).values() if optimize else (Effect(''),)
        assert effect.is_effective
        return model

    plain_bytes, want = step(make(None), batch)
    saving_bytes, got = step(make(dict(checkpointing='blocks')), batch)
    assert saving_bytes < 0.8 * plain_bytes
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs)


def step(model, batch) -> tuple[int, list]:
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)  # dropout
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(**batch, mode='loss')['loss_cls']
    loss.backward()
    return sum(storages.values()), [param.grad for param in model.parameters()]


@pytest.mark.parametrize('encoder', ['conv3d', 'transformer', 'mamba'])
def test_four_accumulated_batches_of_one_train_like_one_batch_of_four(encoder, batch):
    """The memory guide's equality; dropout and BatchNorm in evaluation mode."""
    batch['data_samples'][2].label = torch.tensor(1)
    weights = []
    for size in (4, 1):
        torch.manual_seed(0)
        model = build(encoder).eval()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.5), accumulative_counts=4 // size)
        wrapper.initialize_count_status(model, 0, 4 // size)
        train_step = TrainStep(model, wrapper)
        for part in split_batch(batch, size):
            train_step(part)
        weights.append({name: param.detach() for name, param in model.named_parameters()})
    torch.manual_seed(0)
    start = dict(build(encoder).named_parameters())
    for name, want in weights[0].items():
        torch.testing.assert_close(weights[1][name], want, rtol=1e-5, atol=1e-6)
    assert any(not torch.allclose(want, start[name], atol=1e-4) for name, want in weights[0].items())


def test_the_loss_is_the_mean_cross_entropy_of_labeled_samples(batch):
    model = build(label_smooth=0.1).eval()
    logits = model(batch['inputs'])
    keep = [0, 1, 3]
    want = F.cross_entropy(logits[keep], torch.tensor([0, 4, 2]), label_smoothing=0.1)
    losses = model(**batch, mode='loss')
    torch.testing.assert_close(losses['loss_cls'], want)
    assert losses['accuracy'] == (logits[keep].argmax(1) == torch.tensor([0, 4, 2])).float().mean()


def test_a_batch_without_any_label_has_no_loss_and_no_nan(batch):
    for sample in batch['data_samples']:
        sample.label = torch.tensor(-1)
    assert build()(**batch, mode='loss')['loss_cls'] == 0


def test_predictions_are_probabilities_with_the_likeliest_class(batch):
    for sample in build().eval().requires_grad_(False)(**batch, mode='predict'):
        assert sample.pred_scores.sum() == pytest.approx(1, abs=1e-5)
        assert sample.pred_label == sample.pred_scores.argmax()


@pytest.mark.parametrize('late', LATE)
def test_a_head_norm_takes_away_what_all_clips_have_in_common(batch, late):
    """In training BatchNorm gives the classifier a mean of zero, whatever is added to all features."""
    fusion = build(fusion=dict(type=f'mmopt.{late}', drop_rate=0.0, head_norm_cfg=dict(type='BN1d'))).fusion
    streams = [torch.randn(4, 2, 16) for _ in VIEWS]
    seen = []
    for classifier in getattr(fusion, 'classifiers', None) or [fusion.classifier]:
        classifier[-1].register_forward_hook(lambda module, args, output: seen.append(args[0]))
    fusion(streams)
    assert len(seen) == (3 if late in ('LogitFusion', 'ProbabilityFusion') else 1)
    for features in seen:
        torch.testing.assert_close(features.mean(dim=0), torch.zeros(features.shape[1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize('late', ['LogitFusion', 'ProbabilityFusion'])
def test_late_fusions_of_scores_are_means_over_the_streams(batch, late):
    model = build(fusion=dict(type=f'mmopt.{late}')).eval()
    streams = model._streams(batch['inputs'])
    each = torch.stack([net(feat.mean(1)) for net, feat in zip(model.fusion.classifiers, streams, strict=True)])
    want = each.mean(0).softmax(-1) if late == 'LogitFusion' else each.softmax(-1).mean(0)
    torch.testing.assert_close(model(batch['inputs']).softmax(-1), want)


def test_attention_mixes_views_within_a_time_step_only(batch):
    """The gradient of one step's output reaches all views at this step and none at another."""
    attention = build(fusion=dict(type='mmopt.CrossViewAttention')).fusion.eval()
    attention.classifier = nn.Identity()
    streams = [torch.randn(1, 4, 16, requires_grad=True) for _ in VIEWS]
    inner = {}
    attention.proj.register_forward_hook(lambda module, args, output: inner.update(out=output))
    attention(streams)
    for grad in torch.autograd.grad(inner['out'][0, 1, 0].sum(), streams):
        assert [bool(step.any()) for step in grad[0]] == [False, True, False, False]


def test_views_are_told_apart(batch):
    """Swapping left and right changes what concatenation, own stems and attention say."""
    swapped = dict(batch['inputs'], left=batch['inputs']['right'], right=batch['inputs']['left'])
    for options in (dict(), dict(early_fusion='add'), dict(fusion=dict(type='mmopt.CrossViewAttention'))):
        model = build(**options).eval()
        if model.early is not None:
            for param in model.early.stems[1].parameters():  # copies start alike
                nn.init.normal_(param)
        assert not torch.allclose(model(swapped), model(batch['inputs']), atol=1e-5)


def test_initialization_reaches_the_encoder(tmp_path):
    source = build('conv3d')
    torch.save(source.encoders[0].state_dict(), tmp_path / 'weights.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    model = build(CONFIGS['conv3d'] | dict(init_cfg=pretrained))
    model.init_weights()
    for name, value in source.encoders[0].state_dict().items():
        assert torch.equal(model.encoders[0].state_dict()[name], value), name


@ENCODERS
def test_features_keep_their_time_steps(encoder):
    """Attention over views needs them one by one."""
    model = build(encoder)
    assert model.encoders[0](torch.rand(2, 3, 4, 32, 32)).shape[:2] == (2, 4)


@ENCODERS
@pytest.mark.parametrize('size', [24, 40])
def test_any_image_size_runs(encoder, size):
    model = build(encoder).eval()
    assert model({view: torch.rand(1, 3, 3, size, size) for view in VIEWS}).shape == (1, 5)


@pytest.mark.parametrize(('encoder', 'norm'), [('conv3d', nn.GroupNorm), ('transformer', nn.GroupNorm)])
def test_norm_cfg_reaches_every_norm(encoder, norm):
    cfg = dict(type='GN', num_groups=2)
    options = dict(norm_cfg=cfg) if encoder == 'conv3d' else dict(stem_norm_cfg=cfg)
    model = build(CONFIGS[encoder] | options)
    found = [module for module in model.encoders.modules() if isinstance(module, nn.GroupNorm | nn.BatchNorm3d)]
    assert found
    assert all(isinstance(module, norm) and module.num_groups == 2 for module in found)


def test_the_preprocessor_scales_clips_and_leaves_keypoints(batch):
    frames = torch.randint(256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    points = torch.randn(2, 4, 52, 3)
    out = VideoPreprocessor()(dict(inputs=dict(front=frames, keypoints=points)))['inputs']
    torch.testing.assert_close(out['front'], frames / 255)
    assert out['keypoints'] is points


def test_missing_inputs_and_impossible_options_are_named(batch):
    del batch['inputs']['keypoints'], batch['inputs']['left']
    with pytest.raises(ValueError, match='needs left, keypoints, the batch has front, right: set load_rgb, load_kpt'):
        build(keypoints=True)(batch['inputs'])
    with pytest.raises(ValueError, match='needs an encoder, a keypoint_encoder or both'):
        build(None)
    with pytest.raises(ValueError, match="early_fusion must be 'add', 'concat' or None, got 'mean'"):
        build(early_fusion='mean')
    with pytest.raises(ValueError, match='it needs encoder, share_weights=True and two views'):
        build(early_fusion='add', share_weights=False)
    with pytest.raises(ValueError, match='num_heads=3 must divide'):
        build(fusion=dict(type='mmopt.CrossViewAttention', num_heads=3))
