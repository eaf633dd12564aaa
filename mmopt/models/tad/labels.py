"""Labels of a batch as padded tensors, and the choice among labeled behaviors.

Shape letters: B batch, G events (padded), N predictions, L labeled triples, A actions, M mice, 3 = agent, target,
action.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmopt.structures import DataSample
from mmopt.utils.transfer import send

__all__ = ['LABEL_PREPROCESSOR', 'TTA_REASON', 'BatchLabels', 'best_triples', 'collect_labels', 'masked_log_softmax']

LABEL_PREPROCESSOR = dict(
    type='mmopt.DevicePreprocessor', host_fields=('segments', 'agents', 'targets', 'actions', 'labeled')
)
"""Config of what moves a batch to the device: labels stay on the host, where :func:`collect_labels` reads them."""

TTA_REASON = 'a mirrored arena has other features, which the pipeline computes from the tracks'

_FORBIDDEN = -1e4  # a logit that leaves no probability, yet keeps sums finite


@dataclass(frozen=True)
class BatchLabels:
    """Ground truth of a batch.

    Attributes:
        segments_BG2: float32, frames of the window.
        triples_BG3: int64 agent, target, action; -1 for an agent or target that is not annotated.
        real_BG: bool; False for padding.
        allowed_BM: bool, (agents, targets): mice that occur so in a labeled behavior.
        allowed_BA: bool: actions that do.
        num_frames_B: int64, frames of the window that are no padding.
    """

    segments_BG2: Tensor
    triples_BG3: Tensor
    real_BG: Tensor
    allowed_BM: tuple[Tensor, Tensor]
    allowed_BA: Tensor
    num_frames_B: Tensor


def collect_labels(
    data_samples: Sequence[DataSample], num_actions: int, num_mice: int, device: torch.device
) -> BatchLabels:
    """Pad the events of all samples to one tensor, on the CPU, and copy it to the device without waiting.

    Args:
        data_samples: Samples of :class:`~mmopt.datasets.tad.MABeDataset`; labels that lie on a device are read back.
        num_actions: Actions A of the model.
        num_mice: Mice M of the model.
        device: Where the labels are needed.

    Returns:
        The labels.

    Raises:
        ValueError: If the data set has more actions or mice than the model.
    """
    counts = [len(sample.segments) for sample in data_samples]
    size, most = len(data_samples), max(counts, default=0)
    segments = torch.zeros(size, most, 2)
    triples = torch.full((size, most, 3), -1)
    agents, targets = torch.zeros(2, size, num_mice + 1, dtype=torch.bool)
    actions = torch.zeros(size, num_actions, dtype=torch.bool)
    for b, (sample, count) in enumerate(zip(data_samples, counts, strict=True)):
        segments[b, :count] = sample.segments.cpu()
        triples[b, :count] = torch.stack((sample.agents, sample.targets, sample.actions), dim=-1).cpu()
        agent_L, target_L, action_L = sample.labeled.cpu().T
        num_known = 1 + int(action_L.max()) if len(action_L) else 0
        if num_known > num_actions:
            raise ValueError(
                f'The data set has at least {num_known} actions, the model has num_classes={num_actions}: '
                'set model.num_classes to the length of metainfo.classes.'
            )
        num_animals = 1 + int(torch.cat((agent_L, target_L)).max()) if len(agent_L) else 0
        if num_animals > num_mice:
            raise ValueError(
                f'The data set has behaviors of mouse{num_animals}, the model has num_mice={num_mice}: set '
                f'model.num_mice, and num_mice of the MotionFeatures of each pipeline, to {num_animals}.'
            )
        # Index -1 (not annotated) marks the extra column at the end, which is cut off.
        agents[b, agent_L], targets[b, target_L], actions[b, action_L] = True, True, True
    real = torch.arange(most)[None] < torch.tensor(counts)[:, None]
    num_frames = torch.tensor([sample.window[1] - sample.window[0] for sample in data_samples])
    parts = (segments, triples, real, agents[:, :-1], targets[:, :-1], actions, num_frames)
    segments, triples, real, agents, targets, actions, num_frames = send(parts, device)
    return BatchLabels(segments, triples, real, (agents, targets), actions, num_frames)


def masked_log_softmax(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return log-probabilities over the allowed classes alone, in float32.

    Args:
        logits: Any shape, classes last.
        allowed: bool of a shape that broadcasts; others get a log-probability of about -10000.

    Returns:
        Log-probabilities.
    """
    return logits.float().masked_fill(~allowed, _FORBIDDEN).log_softmax(dim=-1)


def best_triples(agent_NM: Tensor, target_NM: Tensor, action_NA: Tensor, labeled_L3: Tensor) -> tuple[Tensor, Tensor]:
    """Choose the most probable labeled behavior of every prediction.

    Args:
        agent_NM: Log-probabilities of the agent.
        target_NM: Log-probabilities of the target (the agent itself included).
        action_NA: Log-probabilities of the action.
        labeled_L3: Triples to choose from; an agent or target of -1 counts as certain.

    Returns:
        Triples (N, 3) and their log-probabilities (N,).
    """
    # A column of zeros at the end is what index -1 finds.
    agent, target = (torch.nn.functional.pad(table, (0, 1)) for table in (agent_NM, target_NM))
    agent_L, target_L, action_L = labeled_L3.T
    score_NL = agent[:, agent_L] + target[:, target_L] + action_NA[:, action_L]
    best_N, choice_N = score_NL.max(dim=1)
    return labeled_L3[choice_N], best_N
