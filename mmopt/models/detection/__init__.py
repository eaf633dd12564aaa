"""Box detection: YOLOv5 in all sizes, for images, event frames and both together."""

from mmopt.models.detection.backbone import CSPDarknet, FusionBackbone
from mmopt.models.detection.detector import AnchorDetector
from mmopt.models.detection.head import AnchorHead
from mmopt.models.detection.neck import PathAggregation

__all__ = ['AnchorDetector', 'AnchorHead', 'CSPDarknet', 'FusionBackbone', 'PathAggregation']
