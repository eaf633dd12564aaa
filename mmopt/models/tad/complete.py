"""Interval detectors as one graph each, from the features of a window to its intervals.

Shape letters: B batch, T frames, A anchors, N candidates, L labeled triples, M mice, K actions, R runs.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmopt.models.tad.labels import masked_log_softmax
from mmopt.ops.padded_nms import keep_mask, top_rows
from mmopt.ops.segments import decode_segments
from mmopt.structures.complete_graph import CompleteGraph, preprocess

if TYPE_CHECKING:
    from mmopt.models.tad.v6 import FrameClassifier
    from mmopt.models.tad.v7 import IntervalDetector

__all__ = ['complete_frames', 'complete_intervals']


def complete_intervals(detector: 'IntervalDetector') -> CompleteGraph:
    """Return V7 from the features of a window, and the triples to choose from, to intervals."""
    return _complete(_IntervalGraph(detector))


def complete_frames(classifier: 'FrameClassifier') -> CompleteGraph:
    """Return V6 from the features of a window, and the triples to choose from, to intervals."""
    return _complete(_FrameGraph(classifier))


def _complete(module: nn.Module) -> CompleteGraph:
    return CompleteGraph(
        module,
        fields=('labeled',),
        counts=dict.fromkeys(('pred_segments', 'pred_scores', 'pred_triples'), 'num_predictions'),
        axes=dict(labeled={1: 'triples'}),
        units=dict(
            pred_segments='start and stop (excluded) in frames of the window',
            pred_scores='confidence',
            pred_triples='agent, target, action',
            num_predictions='rows that are predictions; those behind are 0',
        ),
    )


def _triple_scores(agent_BNM: Tensor, target_BNM: Tensor, labeled_BL3: Tensor) -> Tensor:
    """Return the log-probability (B, N, L) of agent and target of every triple; one of -1 counts as certain."""
    total = None
    for column, table_BNM in enumerate((agent_BNM, target_BNM)):
        # A column of zeros at the end is what is not annotated.
        padded = nn.functional.pad(table_BNM, (0, 1))
        index_BL = labeled_BL3[..., column]
        index_BL = torch.where(index_BL < 0, table_BNM.shape[-1], index_BL)
        part_BNL = padded.gather(2, index_BL[:, None].expand(-1, padded.shape[1], -1))
        total = part_BNL if total is None else total + part_BNL
    assert total is not None
    return total


def _rows(field_BNX: Tensor, index_BM: Tensor) -> Tensor:
    return field_BNX.gather(1, index_BM[..., None].expand(-1, -1, field_BNX.shape[2]))


class _IntervalGraph(nn.Module):
    def __init__(self, detector: 'IntervalDetector') -> None:
        super().__init__()
        self.detector = detector

    def forward(self, inputs: dict[str, Tensor], labeled_BL3: Tensor) -> dict[str, Tensor]:
        """Return the intervals of mode ``'predict'``, padded to ``max_predictions``, best first."""
        detector = self.detector
        inputs = preprocess(detector, inputs)
        outputs = {name: value.float() for name, value in detector(inputs).items()}
        frames_B = inputs['valid'].sum(dim=1).float()
        segments_BA2 = decode_segments(detector.anchors_A2, outputs['boundary']).clamp(min=0)
        segments_BA2 = torch.minimum(segments_BA2, frames_B[:, None, None])
        score_BA = outputs['objectness'].squeeze(-1).sigmoid()
        good_BA = (score_BA > detector.score_threshold) & (detector.anchors_A2.mean(dim=-1) < frames_B[:, None])
        good_BA = good_BA & (segments_BA2[..., 1] - segments_BA2[..., 0] >= 1)
        most = min(detector.max_predictions, score_BA.shape[1])
        score_BN, index_BN = torch.where(good_BA, score_BA, 0.0).topk(most, dim=1)
        agent, target, action_BNK = (
            _rows(outputs[name], index_BN).log_softmax(dim=-1) for name in ('agent', 'target', 'action')
        )
        action_BNL = action_BNK.gather(2, labeled_BL3[:, None, :, 2].expand(-1, most, -1))
        best_BN, choice_BN = (_triple_scores(agent, target, labeled_BL3) + action_BNL).max(dim=2)
        triples_BN3, segments_BN2 = _rows(labeled_BL3, choice_BN), _rows(segments_BA2, index_BN)
        if detector.joint_score:
            score_BN = score_BN * best_BN.exp()
        score_BN, segments_BN2, triples_BN3, _ = top_rows(score_BN, most, (segments_BN2, triples_BN3))
        start_BN, stop_BN = segments_BN2.unbind(dim=-1)
        # A segment overlaps like a box of height one.
        boxes_BN4 = torch.stack((start_BN, torch.zeros_like(start_BN), stop_BN, torch.ones_like(stop_BN)), dim=-1)
        kept_BN = keep_mask(boxes_BN4, score_BN, triples_BN3[..., 2], detector.num_classes, detector.nms_iou)
        scores, segments, triples, num_B = top_rows(score_BN * kept_BN, most, (segments_BN2, triples_BN3))
        return dict(pred_segments=segments, pred_scores=scores, pred_triples=triples, num_predictions=num_B)


class _FrameGraph(nn.Module):
    def __init__(self, classifier: 'FrameClassifier') -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, inputs: dict[str, Tensor], labeled_BL3: Tensor) -> dict[str, Tensor]:
        """Return the intervals of mode ``'predict'`` in the order of time, padded to as many as may be."""
        model = self.classifier
        background = model.num_classes
        inputs = preprocess(model, inputs)
        outputs = {name: value.float() for name, value in model(inputs).items()}
        valid_BT = inputs['valid']
        # Only actions of the triples; the last class, background, always.
        known_BA = (labeled_BL3[..., 2, None] == torch.arange(background, device=valid_BT.device)).any(dim=1)
        allowed_BA = nn.functional.pad(known_BA, (0, 1), value=True)
        prob_BAT = masked_log_softmax(outputs['action'], allowed_BA[:, None]).exp().transpose(1, 2)
        prob_BAT = self._smooth(prob_BAT, valid_BT)
        label_BT = torch.where(valid_BT, prob_BAT.argmax(dim=1), background)

        changes_BT = label_BT != torch.cat((label_BT[:, :1] - 1, label_BT[:, :-1]), dim=1)
        run_BT = changes_BT.long().cumsum(dim=1) - 1
        one_BT = torch.ones_like(prob_BAT[:, 0])
        length_BR = self._sum_runs(one_BT[..., None], run_BT)[..., 0]
        stop_BR = length_BR.cumsum(dim=1)
        start_BR = stop_BR - length_BR
        first_BR = start_BR.long().clamp(max=label_BT.shape[1] - 1)
        action_BR = label_BT.gather(1, first_BR)
        real_BR = (action_BR != background) & (length_BR >= model.min_frames)

        # Runs are whole, so a frame's own score is its run's.
        own_BT = prob_BAT.transpose(1, 2).gather(2, label_BT[..., None])
        tables = [own_BT, *(outputs[name].log_softmax(dim=-1) for name in ('agent', 'target'))]
        mean = self._sum_runs(torch.cat(tables, dim=-1), run_BT) / length_BR.clamp(min=1)[..., None]
        score_BR1, agent, target = mean.split([table.shape[-1] for table in tables], dim=-1)
        fits_BRL = labeled_BL3[:, None, :, 2] == action_BR[..., None]
        choice_BR = torch.where(fits_BRL, _triple_scores(agent, target, labeled_BL3), -torch.inf).argmax(dim=2)

        # Earlier runs first: the more frames are left, the better.
        left_BR = torch.where(real_BR, label_BT.shape[1] - start_BR, 0.0)
        most = max(label_BT.shape[1] // max(model.min_frames, 1), 1)
        segments_BR2 = torch.stack((start_BR, stop_BR), dim=-1)
        _, segments, triples, scores, num_B = top_rows(
            left_BR, most, (segments_BR2, _rows(labeled_BL3, choice_BR), score_BR1[..., 0])
        )
        return dict(pred_segments=segments, pred_scores=scores, pred_triples=triples, num_predictions=num_B)

    def _smooth(self, prob_BAT: Tensor, valid_BT: Tensor) -> Tensor:
        """Average over neighboring frames; padding takes no part."""
        smooth = self.classifier.smooth
        valid_B1T = valid_BT[:, None].to(prob_BAT.dtype)
        total = nn.functional.avg_pool1d(prob_BAT * valid_B1T, smooth, stride=1, padding=smooth // 2)
        share = nn.functional.avg_pool1d(valid_B1T, smooth, stride=1, padding=smooth // 2)
        return total / share.clamp(min=1e-6)

    @staticmethod
    def _sum_runs(value_BTX: Tensor, run_BT: Tensor) -> Tensor:
        """Sum over the frames of every run: (B, R, X), as many runs as there may be."""
        index = run_BT[..., None].expand_as(value_BTX)
        return torch.zeros_like(value_BTX).scatter_add(1, index, value_BTX)
