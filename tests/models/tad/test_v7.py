import pytest
import torch

from mmopt.models.tad.v7 import IntervalDetector, focal_loss
from mmopt.ops.segments import IGNORED
from tests.models.tad.conftest import build_v7, make_samples

PUBLISHED = dict(encoder=dict(type='mmopt.ConvBiLSTM', in_channels=284))


@pytest.mark.parametrize(('num_classes', 'num_params'), [(4, 3_176_139), (37, 3_197_424)])
def test_the_published_model_has_the_published_size(num_classes, num_params):
    model = IntervalDetector(**PUBLISHED, num_classes=num_classes)
    assert sum(param.numel() for param in model.parameters()) == num_params
    for name, size in dict(action=num_classes, agent=4, target=4, boundary=2, objectness=1).items():
        last = model.heads[name][-1]
        assert (last.in_features, last.out_features) == (128, 5 * size)
    assert model.anchors_A2.shape == (1250, 2)


def test_outputs_are_in_the_order_of_the_anchors():
    """Position-major, lengths within: moving one bias moves the anchors of one length."""
    model = build_v7().eval()
    inputs = dict(features=torch.zeros(1, 200, 12), valid=torch.ones(1, 200, dtype=torch.bool))
    before = model(inputs)['objectness'][0, :, 0]
    with torch.no_grad():
        model.heads['objectness'][-1].bias[2] += 3.0
    moved = (model(inputs)['objectness'][0, :, 0] - before) > 1
    length = model.anchors_A2[:, 1] - model.anchors_A2[:, 0]
    assert torch.equal(moved, length == 100)


def test_focal_loss_by_hand():
    # p = 0.9: 0.25 * 0.1^2 * -log 0.9; 0.75 * 0.9^2 * -log 0.1
    logit = torch.tensor([0.9, 0.9]).logit()
    expected = torch.tensor([0.25 * 0.01 * 0.1053605, 0.75 * 0.81 * 2.3025851])
    torch.testing.assert_close(focal_loss(logit, torch.tensor([1.0, 0.0])), expected, rtol=1e-4, atol=0)


def literal_loss(model, outputs, samples) -> dict[str, float]:
    """The loss in the guide's wording, one anchor at a time."""
    sums = dict.fromkeys(('objectness', 'agent', 'target', 'action', 'boundary'), 0.0)
    num_positive = 0
    _, match_BA, _ = model._match(samples)
    for b, sample in enumerate(samples):
        for a, match in enumerate(match_BA[b].tolist()):
            if match == IGNORED:
                continue
            logit = outputs['objectness'][b, a]
            sums['objectness'] += focal_loss(logit, torch.full((1,), float(match >= 0))).sum()
            if match < 0:
                continue
            num_positive += 1
            triple = dict(agent=sample.agents[match], target=sample.targets[match], action=sample.actions[match])
            for column, (name, label) in enumerate(triple.items()):
                allowed = sorted({int(row[column]) for row in sample.labeled})
                log_prob = outputs[name][b, a, allowed].log_softmax(0)
                sums[name] -= log_prob[allowed.index(int(label))]
            anchor, (start, stop) = model.anchors_A2[a], sample.segments[match]
            length = anchor[1] - anchor[0]
            first, last = (anchor[i] + outputs['boundary'][b, a, i] * length for i in (0, 1))
            shared = (min(last, stop) - max(first, start)).clamp(min=0)
            sums['boundary'] += 1 - shared / ((last - first) + (stop - start) - shared)
    return {f'loss_{name}': value / num_positive for name, value in sums.items()}


def test_the_loss_equals_the_literal_one(batch):
    model = build_v7().eval()
    torch.nn.init.normal_(model.heads['boundary'][-1].weight, std=0.3)
    with torch.no_grad():
        expected = literal_loss(model, model(batch['inputs']), batch['data_samples'])
        losses = model(**batch, mode='loss')
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        torch.testing.assert_close(value, torch.as_tensor(expected[name]).reshape(()), rtol=1e-4, atol=1e-6)


def test_of_two_anchors_on_one_event_the_better_stays():
    model = build_v7(score_threshold=0.5)
    outputs = {name: torch.zeros(1, 150, size) for name, size in dict(action=3, agent=4, target=4, boundary=2).items()}
    outputs['objectness'] = torch.full((1, 150, 1), -9.0)
    for anchor, logit in ((61, 2.0), (64, 3.0), (100, 1.0)):  # centers 80 and 84, length 30; center 132
        outputs['objectness'][0, anchor] = logit
    (sample,) = model._predict(outputs, make_samples([]))
    torch.testing.assert_close(sample.pred_scores, torch.tensor([3.0, 1.0]).sigmoid())
    assert sample.pred_segments[0].tolist() == [84 - 15, 84 + 15]


def test_a_joint_score_weighs_objectness_by_the_probability_of_the_triple():
    outputs = {name: torch.zeros(1, 150, size) for name, size in dict(action=3, agent=4, target=4, boundary=2).items()}
    outputs['objectness'] = torch.full((1, 150, 1), -9.0)
    outputs['objectness'][0, 61], outputs['objectness'][0, 100] = 3.0, 2.0
    outputs['action'][0, 61, 0], outputs['action'][0, 100, 1] = 0.1, 5.0  # unsure, and sure
    scores = [
        build_v7(score_threshold=0.5, joint_score=joint)._predict(outputs, make_samples([]))[0]
        for joint in (False, True)
    ]
    assert [sample.pred_triples[0, 2].item() for sample in scores] == [0, 1]
    sure = torch.tensor(2.0).sigmoid() * torch.tensor([0.0, 5.0, 0.0]).softmax(0)[1] / 16  # four agents, four targets
    torch.testing.assert_close(scores[1].pred_scores[0], sure)


def test_a_window_that_is_no_multiple_of_the_stride_is_refused():
    with pytest.raises(ValueError, match='window must be a multiple of the stride 4, got 202'):
        build_v7(window=202)


@pytest.mark.parametrize('lengths', [(), (10, 0)])
def test_anchors_without_length_are_refused(lengths):
    with pytest.raises(ValueError, match='anchor_lengths must be positive, at least one; got'):
        build_v7(anchor_lengths=lengths)


def test_windows_of_another_length_are_refused(batch):
    with pytest.raises(ValueError, match=r'windows have 200 frames, model.window is 400'):
        build_v7(window=400)(**batch)
