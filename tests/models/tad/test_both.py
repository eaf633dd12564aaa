"""What holds for V7 and V6 alike."""

import pytest
import torch
from torch import nn

from mmopt.structures import split_batch
from tests.models.tad.conftest import ENCODER, build_v6, build_v7, make_samples

BUILDERS = pytest.mark.parametrize('build', [build_v7, build_v6])


def gradients(model, batch, size) -> list:
    model.zero_grad()
    normalizers = model.loss_normalizers(batch['data_samples'])
    for part in split_batch(batch, size):
        sum(model(**part, mode='loss', normalizers=normalizers).values()).backward()
    return [param.grad.clone() for param in model.parameters()]


@BUILDERS
@pytest.mark.parametrize('size', [1, 3])
def test_micro_batched_gradients_equal_the_whole_batch(build, batch, size):
    model = build().eval()
    for got, want in zip(gradients(model, batch, size), gradients(model, batch, 4), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


@BUILDERS
def test_every_parameter_gets_a_gradient(build, batch):
    model = build()
    sum(model(**batch, mode='loss').values()).backward()
    missing = [name for name, param in model.named_parameters() if param.grad is None or not param.grad.any()]
    assert not missing


@BUILDERS
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_losses_under_autocast_are_close_to_float32(build, batch, dtype):
    model = build().eval()
    want = model(**batch, mode='loss')
    with torch.autocast('cpu', dtype=dtype):
        got = model(**batch, mode='loss')
    for name in want:
        assert got[name].dtype == torch.float32
        torch.testing.assert_close(got[name], want[name], rtol=0.03, atol=0.03)


@BUILDERS
def test_padding_changes_nothing(build, batch):
    """What stands in padded frames is never seen."""
    model = build().eval()
    want = model(**batch, mode='loss')
    batch['inputs']['features'][3, 80:] = torch.randn(120, 12)
    torch.testing.assert_close(model(**batch, mode='loss'), want)


@BUILDERS
def test_samples_of_a_batch_do_not_mix(build, batch):
    model = build().eval()
    both = model(**batch, mode='tensor')
    for part, start in zip(split_batch(batch, 1), range(4), strict=True):
        for name, value in model(**part, mode='tensor').items():
            torch.testing.assert_close(value[0], both[name][start])


@BUILDERS
def test_unlabeled_actions_take_no_part_in_the_loss(build, batch):
    """Action 2 is in no labeled triple: its logit may be anything."""
    model = build().eval()
    want = model(**batch, mode='loss')
    last = model.heads['action'][-1]
    with torch.no_grad():
        last.bias.view(-1, 3 if build is build_v7 else 4)[:, 2] += 50.0
    torch.testing.assert_close(model(**batch, mode='loss'), want)


@BUILDERS
def test_only_labeled_triples_are_predicted(build, batch):
    model = build(**(dict(score_threshold=0.0) if build is build_v7 else dict(min_frames=1))).eval()
    for sample in model(**batch, mode='predict'):
        labeled = set(map(tuple, sample.labeled.tolist()))
        assert set(map(tuple, sample.pred_triples.tolist())) <= labeled
        end = sample.window[1]
        assert ((sample.pred_segments >= 0) & (sample.pred_segments <= end)).all()
        assert (sample.pred_segments[:, 0] < sample.pred_segments[:, 1]).all()
        assert ((sample.pred_scores > 0) & (sample.pred_scores <= 1)).all()


@BUILDERS
def test_events_without_agent_and_target_train_the_action_alone(build):
    model = build()
    samples = make_samples([(10, 60, -1, -1, 0)])
    samples[0].labeled = torch.tensor([[-1, -1, 0], [-1, -1, 1]])
    inputs = dict(features=torch.randn(1, 200, 12), valid=torch.ones(1, 200, dtype=torch.bool))
    losses = model(inputs, samples, mode='loss')
    assert losses['loss_agent'] == losses['loss_target'] == 0
    assert losses['loss_action'] > 0
    (sample,) = model.eval()(inputs, samples, mode='predict')
    assert (sample.pred_triples[:, :2] == -1).all()


@BUILDERS
def test_a_batch_without_events_has_a_finite_loss(build):
    inputs = dict(features=torch.randn(2, 200, 12), valid=torch.ones(2, 200, dtype=torch.bool))
    losses = build()(inputs, make_samples([], []), mode='loss')
    assert all(torch.isfinite(value) for value in losses.values())


@BUILDERS
def test_the_norm_of_the_config_reaches_every_norm(build):
    pool = 1 if build is build_v6 else 2
    model = build(encoder=ENCODER | dict(pool=pool, norm_cfg=dict(type='GN', num_groups=4)))
    assert sum(isinstance(module, nn.GroupNorm) for module in model.modules()) == 2
    assert not any(isinstance(module, nn.BatchNorm1d) for module in model.modules())


@BUILDERS
def test_another_number_of_channels_names_the_setting(build, batch):
    batch['inputs']['features'] = torch.randn(4, 200, 7)
    with pytest.raises(ValueError, match='tracks give 7 input channels .* the model has in_channels=12'):
        build()(**batch)


@BUILDERS
def test_a_data_set_with_more_actions_names_the_setting(build, batch):
    with pytest.raises(ValueError, match='at least 2 actions, the model has num_classes=1: set model.num_classes'):
        build(num_classes=1)(**batch, mode='loss')


@BUILDERS
def test_a_model_learns_to_find_a_bump(build):
    """Channel 0 is high during events of mouse 0, channel 1 during those of mouse 1; noise elsewhere."""
    generator = torch.Generator().manual_seed(0)
    model = build(encoder=ENCODER | dict(pool=1 if build is build_v6 else 2, hidden_size=16, dropout=0.0), dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def draw(count: int) -> dict:
        features, events = torch.randn(count, 200, 12, generator=generator) * 0.3, []
        for b in range(count):
            agent = int(torch.randint(0, 2, (), generator=generator))
            start = int(torch.randint(5, 120, (), generator=generator))
            stop = start + int(torch.randint(20, 70, (), generator=generator))
            features[b, start:stop, agent] += 2.0
            events.append([(start, stop, agent, 1 - agent, 0)])
        valid = torch.ones(count, 200, dtype=torch.bool)
        return dict(inputs=dict(features=features, valid=valid), data_samples=make_samples(*events))

    for _ in range(60):
        optimizer.zero_grad()
        sum(model(**draw(8), mode='loss').values()).backward()
        optimizer.step()
    found = 0
    for sample in model.eval()(**draw(40), mode='predict'):
        if len(sample.pred_scores):
            best = int(sample.pred_scores.argmax())
            start, stop = sample.pred_segments[best].tolist()
            true_start, true_stop = sample.segments[0].tolist()
            shared = min(stop, true_stop) - max(start, true_start)
            right = sample.pred_triples[best, 0] == sample.agents[0]
            found += bool(right and shared / (max(stop, true_stop) - min(start, true_start)) > 0.5)
    # Without the tracks the best constant answer finds 25 % of the intervals, and every second mouse. Found over seeds
    # 0 to 2, float32 and bfloat16, one and two threads, with AVX512 and with AVX2 alone: 30 to 38 of 40 by V7, whose
    # anchors are coarse, all 40 by V6.
    assert found >= 20
