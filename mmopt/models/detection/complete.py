"""A detector as one graph: head, decoding and suppression.

Shape letters: B batch, C channels, H W image, N candidates, M predictions, K classes.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmopt.ops.padded_nms import keep_mask, top_rows
from mmopt.structures.complete_graph import CompleteGraph, preprocess

if TYPE_CHECKING:
    from mmopt.models.detection.detector import AnchorDetector

__all__ = ['complete_detector']


def complete_detector(detector: 'AnchorDetector') -> CompleteGraph:
    """Return a detector from uint8 images to its predictions; images of one size, that of the letterbox."""
    return CompleteGraph(
        _DetectionGraph(detector),
        counts=dict.fromkeys(('pred_boxes', 'pred_scores', 'pred_labels'), 'num_predictions'),
        units=dict(
            pred_boxes='x1, y1, x2, y2 in pixels of the input',
            pred_scores='confidence, best first',
            pred_labels='class number',
            num_predictions='rows that are predictions; those behind are 0',
        ),
    )


class _DetectionGraph(nn.Module):
    """Give the predictions of mode ``'predict'``, padded to ``max_predictions``.

    Args:
        detector: The detector, whose weights are shared.
    """

    def __init__(self, detector: 'AnchorDetector') -> None:
        super().__init__()
        self.detector = detector

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Detect.

        Args:
            inputs: Images (B, C, H, W).

        Returns:
            Boxes (B, M, 4) in pixels of the input, scores, labels, and how many of them are predictions.
        """
        detector = self.detector
        boxes_BN4, scores_BNK = detector.candidates(preprocess(detector, inputs))
        best_BN, label_BN = scores_BNK.max(dim=-1)
        top_BN, index_BN = best_BN.topk(min(detector.num_candidates, best_BN.shape[1]), dim=1)
        top_BN = torch.where(top_BN > detector.score_threshold, top_BN, 0.0)
        label_BN = label_BN.gather(1, index_BN)
        height, width = inputs.shape[-2:]
        boxes_BN4 = boxes_BN4.gather(1, index_BN[..., None].expand(-1, -1, 4))
        limit_4 = boxes_BN4.new_tensor([width, height, width, height])
        boxes_BN4 = torch.minimum(boxes_BN4.clamp(min=0), limit_4)
        kept_BN = keep_mask(boxes_BN4, top_BN, label_BN, detector.num_classes, detector.nms_iou)
        scores_BM, boxes_BM4, labels_BM, num_B = top_rows(
            top_BN * kept_BN, detector.max_predictions, (boxes_BN4, label_BN)
        )
        return dict(pred_boxes=boxes_BM4, pred_scores=scores_BM, pred_labels=labels_BM, num_predictions=num_B)
