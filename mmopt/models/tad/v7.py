"""V7: anchors over time, for intervals with agent, target and action.

Deviations from the published V7: matching and loss are vectorized; padding and unlabeled behaviors take no part;
agent and target are chosen among the labeled triples of the video, so that no impossible triple is predicted.

Shape letters: B batch, T frames, C channels, P = T / 4 positions, S anchor lengths, A = P * S anchors, G events,
N predictions, M mice.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmopt.models.tad.complete import complete_intervals
from mmopt.models.tad.labels import (
    LABEL_PREPROCESSOR,
    TTA_REASON,
    BatchLabels,
    best_triples,
    collect_labels,
    masked_log_softmax,
)
from mmopt.ops.segments import IGNORED, decode_segments, make_anchors, match_anchors, segment_iou, segment_nms
from mmopt.registry import MODELS
from mmopt.structures import DataSample, require_samples
from mmopt.structures.complete_graph import CompleteGraph
from mmopt.utils.placement import device_of

__all__ = ['IntervalDetector', 'focal_loss']


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the sigmoid focal loss of each element (Lin et al., https://arxiv.org/abs/1708.02002)."""
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    prob = logits.sigmoid()
    miss = prob + targets - 2 * prob * targets
    return (alpha * targets + (1 - alpha) * (1 - targets)) * miss**gamma * cross_entropy


@MODELS.register_module()
class IntervalDetector(BaseModel):
    """Detect intervals in a window of tracks.

    Inputs are ``dict(features=(B, T, C), valid=(B, T))``; the samples' fields are those of
    :class:`~mmopt.datasets.tad.MABeDataset`. Predictions: ``pred_segments`` (N, 2) in frames of the window,
    ``pred_scores`` (N,), ``pred_triples`` (N, 3) agent, target, action.

    Args:
        encoder: Config of the encoder; its ``stride`` is the anchors'.
        num_classes: Actions.
        window: Frames T of a window; a multiple of the encoder's stride.
        anchor_lengths: Anchor lengths in frames; ``tools/fit_anchors.py`` proposes them for a data set.
        head_channels: Hidden channels of each head.
        dropout: Probability in the heads.
        positive_iou: Overlap from which an anchor is positive.
        negative_iou: Overlap below which it is negative; those between are ignored.
        score_threshold: Predictions need a higher objectness.
        nms_iou: Overlap with a better prediction of the same action above which a prediction is dropped.
        max_predictions: Best candidates per window that enter the suppression.
        joint_score: Whether the score is objectness times the triple's probability instead of objectness alone. Where
            intervals cover the whole video, every anchor has one, and objectness does not tell which.
        num_mice: Animals that may be agent or target.
        data_preprocessor: Config; the default only moves the batch to the device, without its labels.

    Raises:
        ValueError: If ``window`` is not a multiple of the encoder's stride, or an anchor has no length.
    """

    tta_reason = TTA_REASON

    def __init__(
        self,
        encoder: dict,
        num_classes: int,
        window: int = 1000,
        anchor_lengths: Sequence[float] = (10, 30, 60, 120, 240),
        head_channels: int = 128,
        dropout: float = 0.3,
        positive_iou: float = 0.5,
        negative_iou: float = 0.4,
        score_threshold: float = 0.5,
        nms_iou: float = 0.3,
        max_predictions: int = 300,
        joint_score: bool = False,
        num_mice: int = 4,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or LABEL_PREPROCESSOR, init_cfg)
        self.encoder = MODELS.build(encoder)
        if window % self.encoder.stride:
            raise ValueError(f'window must be a multiple of the stride {self.encoder.stride}, got {window}.')
        if not anchor_lengths or min(anchor_lengths) <= 0:
            raise ValueError(f'anchor_lengths must be positive, at least one; got {tuple(anchor_lengths)}.')
        self.num_classes = num_classes
        self.num_mice = num_mice
        self.window = window
        self.num_lengths = len(anchor_lengths)
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_predictions = max_predictions
        self.joint_score = joint_score
        outputs = dict(action=num_classes, agent=num_mice, target=num_mice, boundary=2, objectness=1)
        heads: dict[str, Any] = {
            name: nn.Sequential(
                nn.Linear(self.encoder.out_channels, head_channels),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(head_channels, self.num_lengths * size),
            )
            for name, size in outputs.items()
        }
        self.heads = nn.ModuleDict(heads)
        # Focal loss diverges at first when the thousand negatives of a window start at 0.5.
        nn.init.constant_(heads['objectness'][-1].bias, -4.6)  # log(0.01 / 0.99)
        # An offset of 0 is the anchor itself; random ones make stops that lie before starts.
        nn.init.normal_(heads['boundary'][-1].weight, std=0.01)
        nn.init.zeros_(heads['boundary'][-1].bias)
        # Not persistent: a checkpoint fits any window and is not tied to the lengths' values.
        anchors_A2 = make_anchors(window, self.encoder.stride, anchor_lengths)
        self.register_buffer('anchors_A2', anchors_A2, persistent=False)

    def forward(
        self,
        inputs: dict[str, Tensor],
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
        normalizers: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor] | list[DataSample]:
        """Run the model.

        Args:
            inputs: ``features`` and ``valid``.
            data_samples: Samples of the batch; needed except for mode ``'tensor'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            normalizers: From :meth:`loss_normalizers` over the whole batch, when this is a part of it.

        Returns:
            Losses, the samples with predictions, or the heads' outputs, each of shape (B, A, size).

        Raises:
            ValueError: If the window has another length than the model's.
        """
        if inputs['features'].shape[1] != self.window:
            raise ValueError(
                f"The data set's windows have {inputs['features'].shape[1]} frames, model.window is {self.window}."
            )
        encoded_BPC = self.encoder(inputs['features'], inputs['valid'])
        outputs = {
            name: head(encoded_BPC).unflatten(-1, (self.num_lengths, -1)).flatten(1, 2)
            for name, head in self.heads.items()
        }
        if mode == 'tensor':
            return outputs
        data_samples = require_samples(data_samples, self, mode)
        # Overlaps and sums over a thousand anchors need float32.
        with torch.autocast(encoded_BPC.device.type, enabled=False):
            outputs = {name: value.float() for name, value in outputs.items()}
            if mode == 'loss':
                normalizers = self.loss_normalizers(data_samples) if normalizers is None else normalizers
                return self._loss(outputs, data_samples, normalizers)
            return self._predict(outputs, data_samples)

    def complete_graph(self, data_samples: Sequence[DataSample]) -> CompleteGraph:
        """Return the model from the features of a window to intervals; see :mod:`mmopt.structures.complete_graph`."""
        del data_samples  # nothing depends on them
        return complete_intervals(self)

    def _match(self, data_samples: list[DataSample]) -> tuple[BatchLabels, Tensor, Tensor]:
        """Return labels, the match of every anchor (B, A), and the triple of its event, -1 where there is none."""
        labels = collect_labels(data_samples, self.num_classes, self.num_mice, device_of(self))
        center_A = self.anchors_A2.mean(dim=-1)
        usable_BA = center_A < labels.num_frames_B[:, None]
        match_BA = match_anchors(
            self.anchors_A2, labels.segments_BG2, labels.real_BG, usable_BA, self.positive_iou, self.negative_iou
        )
        # An extra event at the end is what a negative match finds.
        triples_BG3 = nn.functional.pad(labels.triples_BG3, (0, 0, 0, 1), value=-1)
        index_BA3 = torch.where(match_BA >= 0, match_BA, triples_BG3.shape[1] - 1)[..., None].expand(-1, -1, 3)
        return labels, match_BA, triples_BG3.gather(1, index_BA3)

    def loss_normalizers(self, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Count, over the batch, the positive anchors and those whose agent and target are annotated.

        Args:
            data_samples: All samples of the batch.

        Returns:
            One count per loss term, at least 1.
        """
        _, match_BA, triples_BA3 = self._match(data_samples)
        counts = [(match_BA >= 0).sum(), *(triples_BA3[..., :2] >= 0).sum(dim=(0, 1))]
        return {
            name: count.clamp(min=1).float()
            for name, count in zip(('positives', 'agents', 'targets'), counts, strict=True)
        }

    def _loss(
        self, outputs: dict[str, Tensor], data_samples: list[DataSample], normalizers: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        labels, match_BA, triples_BA3 = self._match(data_samples)
        positive_BA, counts_BA = match_BA >= 0, match_BA != IGNORED
        objectness_BA = outputs['objectness'].squeeze(-1)
        focal_BA = focal_loss(objectness_BA, positive_BA.float())
        losses = dict(loss_objectness=(focal_BA * counts_BA).sum() / normalizers['positives'])

        # Over all anchors: picking the positive ones would read their number back, and wait for the device.
        allowed = dict(agent=labels.allowed_BM[0], target=labels.allowed_BM[1], action=labels.allowed_BA)
        counted = dict(agent='agents', target='targets', action='positives')
        for column, name in enumerate(allowed):
            log_prob = masked_log_softmax(outputs[name], allowed[name][:, None])
            loss = nn.functional.nll_loss(
                log_prob.flatten(0, 1), triples_BA3[..., column].flatten(), ignore_index=-1, reduction='sum'
            )
            losses[f'loss_{name}'] = loss / normalizers[counted[name]]

        predicted_BA2 = decode_segments(self.anchors_A2, outputs['boundary'])
        # An event at the end stands for none, where a batch has no event at all.
        segments_BG2 = nn.functional.pad(labels.segments_BG2, (0, 0, 0, 1))
        truth_BA2 = segments_BG2.gather(1, match_BA.clamp(min=0)[..., None].expand(-1, -1, 2))
        iou_BA = segment_iou(predicted_BA2[..., None, :], truth_BA2[..., None, :])[..., 0, 0]
        losses['loss_boundary'] = torch.where(positive_BA, 1 - iou_BA, 0.0).sum() / normalizers['positives']
        return losses

    def _predict(self, outputs: dict[str, Tensor], data_samples: list[DataSample]) -> list[DataSample]:
        segments_BA2 = decode_segments(self.anchors_A2, outputs['boundary'])
        score_BA = outputs['objectness'].squeeze(-1).sigmoid()
        center_A = self.anchors_A2.mean(dim=-1)
        for b, sample in enumerate(data_samples):
            num_frames = sample.window[1] - sample.window[0]
            segments_A2 = segments_BA2[b].clamp(0, num_frames)
            good_A = (score_BA[b] > self.score_threshold) & (center_A < num_frames)
            good_A &= segments_A2[:, 1] - segments_A2[:, 0] >= 1
            chosen_N = good_A.nonzero().flatten()
            chosen_N = chosen_N[score_BA[b, chosen_N].argsort(descending=True, stable=True)[: self.max_predictions]]
            agent, target, action = (
                outputs[name][b, chosen_N].log_softmax(dim=-1) for name in ('agent', 'target', 'action')
            )
            triples_N3, log_prob_N = best_triples(agent, target, action, sample.labeled.to(chosen_N.device))
            score_N = score_BA[b, chosen_N]
            if self.joint_score:
                score_N = score_N * log_prob_N.exp()
            kept = segment_nms(segments_A2[chosen_N], score_N, self.nms_iou, triples_N3[:, 2])
            sample.pred_segments = segments_A2[chosen_N][kept]
            sample.pred_scores = score_N[kept]
            sample.pred_triples = triples_N3[kept]
        return data_samples
