"""V6: classify every frame, then read intervals off the smoothed scores.

Shape letters: B batch, T frames, C channels, A actions (class A is background), G events, N intervals, M mice.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmopt.models.tad.complete import complete_frames
from mmopt.models.tad.labels import LABEL_PREPROCESSOR, TTA_REASON, best_triples, collect_labels, masked_log_softmax
from mmopt.registry import MODELS
from mmopt.structures import DataSample, require_samples
from mmopt.structures.complete_graph import CompleteGraph
from mmopt.utils.placement import device_of

__all__ = ['FrameClassifier', 'find_runs']


def find_runs(label_T: Tensor, background: int) -> tuple[Tensor, Tensor]:
    """Return the runs of equal labels that are not background.

    Args:
        label_T: One label per frame.
        background: The label that makes no run.

    Returns:
        Half-open segments (N, 2) and their labels (N,).
    """
    edge = torch.ones_like(label_T[:1], dtype=torch.bool)
    start_N = torch.cat((edge, label_T[1:] != label_T[:-1])).nonzero().flatten()
    stop_N = torch.cat((start_N[1:], start_N.new_tensor([len(label_T)])))
    keep_N = label_T[start_N] != background
    return torch.stack((start_N, stop_N), dim=-1)[keep_N], label_T[start_N][keep_N]


@MODELS.register_module()
class FrameClassifier(BaseModel):
    """Give each frame one action or background, an agent and a target.

    Where events of two pairs overlap, the frame belongs to the one that started later: cross-entropy knows one class
    per frame. Inputs, samples and predictions are those of :class:`~mmopt.models.tad.v7.IntervalDetector`; the score of
    an interval is the mean probability of its action.

    Args:
        encoder: Config of the encoder; its stride must be 1.
        num_classes: Actions.
        head_channels: Hidden channels of each head.
        dropout: Probability in the heads.
        smooth: Frames of the moving average over the scores; odd.
        min_frames: Shorter intervals are dropped.
        num_mice: Animals that may be agent or target.
        data_preprocessor: Config; the default only moves the batch to the device, without its labels.

    Raises:
        ValueError: If the encoder shortens the time axis, or ``smooth`` is even.
    """

    tta_reason = TTA_REASON

    def __init__(
        self,
        encoder: dict,
        num_classes: int,
        head_channels: int = 128,
        dropout: float = 0.3,
        smooth: int = 9,
        min_frames: int = 5,
        num_mice: int = 4,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or LABEL_PREPROCESSOR, init_cfg)
        self.encoder = MODELS.build(encoder)
        if self.encoder.stride != 1:
            raise ValueError(f'FrameClassifier needs one output per frame: encoder.pool must be 1, got {encoder}.')
        if smooth % 2 == 0:
            raise ValueError(f'smooth must be odd, so that the average is centered, got {smooth}.')
        self.num_classes = num_classes
        self.num_mice = num_mice
        self.smooth = smooth
        self.min_frames = min_frames
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(self.encoder.out_channels, head_channels),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                    nn.Linear(head_channels, size),
                )
                for name, size in dict(action=num_classes + 1, agent=num_mice, target=num_mice).items()
            }
        )

    def forward(
        self,
        inputs: dict[str, Tensor],
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
        normalizers: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor] | list[DataSample]:
        """Run the model.

        Args:
            inputs: ``features`` (B, T, C) and ``valid`` (B, T).
            data_samples: Samples of the batch; needed except for mode ``'tensor'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            normalizers: From :meth:`loss_normalizers` over the whole batch, when this is a part of it.

        Returns:
            Losses, the samples with predictions, or the heads' outputs, each of shape (B, T, size).
        """
        encoded_BTC = self.encoder(inputs['features'], inputs['valid'])
        outputs = {name: head(encoded_BTC) for name, head in self.heads.items()}
        if mode == 'tensor':
            return outputs
        data_samples = require_samples(data_samples, self, mode)
        with torch.autocast(encoded_BTC.device.type, enabled=False):
            outputs = {name: value.float() for name, value in outputs.items()}
            if mode == 'loss':
                normalizers = self.loss_normalizers(data_samples) if normalizers is None else normalizers
                return self._loss(outputs, data_samples, normalizers)
            return self._predict(outputs, data_samples)

    def complete_graph(self, data_samples: Sequence[DataSample]) -> CompleteGraph:
        """Return the model from the features of a window to intervals; see :mod:`mmopt.structures.complete_graph`."""
        del data_samples  # nothing depends on them
        return complete_frames(self)

    def _frame_triples(self, data_samples: list[DataSample], num_frames: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return agent, target and action of every frame, (B, T, 3); -1 is no loss. Second: which are allowed."""
        labels = collect_labels(data_samples, self.num_classes, self.num_mice, device_of(self))
        frame_T = torch.arange(num_frames, device=labels.segments_BG2.device)
        start_BG1, stop_BG1 = labels.segments_BG2.split(1, dim=-1)
        inside_BGT = labels.real_BG[..., None] & (frame_T >= start_BG1) & (frame_T < stop_BG1)
        # One event more, of background, that every frame falls back to.
        none_B13 = labels.triples_BG3.new_full((len(data_samples), 1, 3), -1)
        none_B13[..., 2] = self.num_classes
        triples_BG3 = torch.cat((none_B13, labels.triples_BG3), dim=1)
        start_BGT = torch.where(inside_BGT, start_BG1, -1.0)
        fallback_B1T = start_BGT.new_full((len(data_samples), 1, num_frames), -0.5)
        start_BGT = torch.cat((fallback_B1T, start_BGT), dim=1)
        latest_BT = start_BGT.argmax(dim=1)
        triples_BT3 = triples_BG3.gather(1, latest_BT[..., None].expand(-1, -1, 3))
        padding_BT = frame_T >= labels.num_frames_B[:, None]
        allowed = dict(
            agent=labels.allowed_BM[0],
            target=labels.allowed_BM[1],
            action=nn.functional.pad(labels.allowed_BA, (0, 1), value=True),
        )
        return triples_BT3.masked_fill(padding_BT[..., None], -1), allowed

    def loss_normalizers(self, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Count, over the batch, the frames that have an agent, a target, an action or background.

        Args:
            data_samples: All samples of the batch.

        Returns:
            One count per loss term, at least 1.
        """
        # No frame beyond the last valid one counts, so the padded length is not needed.
        longest = max(sample.window[1] - sample.window[0] for sample in data_samples)
        triples_BT3, _ = self._frame_triples(data_samples, longest)
        counts_3 = (triples_BT3 >= 0).sum(dim=(0, 1)).clamp(min=1).float()
        return dict(zip(('agent', 'target', 'action'), counts_3, strict=True))

    def _loss(
        self, outputs: dict[str, Tensor], data_samples: list[DataSample], normalizers: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        triples_BT3, allowed = self._frame_triples(data_samples, outputs['action'].shape[1])
        losses = {}
        for column, name in enumerate(('agent', 'target', 'action')):
            log_prob = masked_log_softmax(outputs[name], allowed[name][:, None])
            loss = nn.functional.nll_loss(
                log_prob.flatten(0, 1), triples_BT3[..., column].flatten(), ignore_index=-1, reduction='sum'
            )
            losses[f'loss_{name}'] = loss / normalizers[name]
        return losses

    def _predict(self, outputs: dict[str, Tensor], data_samples: list[DataSample]) -> list[DataSample]:
        for b, sample in enumerate(data_samples):
            num_frames = sample.window[1] - sample.window[0]
            labeled = sample.labeled.to(outputs['action'].device)
            allowed_A = torch.zeros(self.num_classes + 1, dtype=torch.bool, device=labeled.device)
            allowed_A[labeled[:, 2]] = allowed_A[-1] = True
            prob_TA = masked_log_softmax(outputs['action'][b, :num_frames], allowed_A).exp()
            prob_TA = nn.functional.avg_pool1d(
                prob_TA.T[None], self.smooth, stride=1, padding=self.smooth // 2, count_include_pad=False
            )[0].T
            segments_N2, actions_N = find_runs(prob_TA.argmax(dim=1), background=self.num_classes)
            long_N = segments_N2[:, 1] - segments_N2[:, 0] >= self.min_frames
            segments_N2, actions_N = segments_N2[long_N], actions_N[long_N]
            agent, target = (outputs[name][b, :num_frames].log_softmax(dim=-1) for name in ('agent', 'target'))
            triples, scores = [], []
            for (start, stop), action in zip(segments_N2.tolist(), actions_N.tolist(), strict=True):
                scores.append(prob_TA[start:stop, action].mean())
                choices = labeled[labeled[:, 2] == action]
                mean_agent, mean_target = (table[start:stop].mean(dim=0, keepdim=True) for table in (agent, target))
                no_action = prob_TA.new_zeros(1, self.num_classes)
                triples.append(best_triples(mean_agent, mean_target, no_action, choices)[0][0])
            sample.pred_segments = segments_N2.float()
            sample.pred_scores = torch.stack(scores) if scores else prob_TA.new_zeros(0)
            sample.pred_triples = torch.stack(triples) if triples else labeled.new_zeros(0, 3)
        return data_samples
