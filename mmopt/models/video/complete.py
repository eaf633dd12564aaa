"""A recognizer as one graph, from clips to scores.

Shape letters: B clips, K classes.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmopt.structures.complete_graph import CompleteGraph, preprocess

if TYPE_CHECKING:
    from mmopt.models.video.recognizer import MultiViewRecognizer

__all__ = ['complete_recognizer']


def complete_recognizer(recognizer: 'MultiViewRecognizer') -> CompleteGraph:
    """Return a recognizer from uint8 clips and keypoints to its scores, whose weights are shared."""
    return CompleteGraph(
        _RecognizerGraph(recognizer),
        units=dict(pred_scores='probability of every class', pred_label='class number of the most probable'),
    )


class _RecognizerGraph(nn.Module):
    def __init__(self, recognizer: 'MultiViewRecognizer') -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the scores (B, K) and the best label (B,) of clips by view, and keypoints."""
        scores_BK = self.recognizer(preprocess(self.recognizer, inputs)).float().softmax(dim=-1)
        return dict(pred_scores=scores_BK, pred_label=scores_BK.argmax(dim=-1))
