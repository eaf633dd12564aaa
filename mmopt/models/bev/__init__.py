"""Bird's-eye-view segmentation."""

from mmopt.models.bev.lift_splat_neck import LiftSplatNeck, LiftSplatOutput
from mmopt.models.bev.lss_segmentor import LSSSegmentor
from mmopt.models.bev.pyramid_head import NUSCENES_PRIORS, PyramidHead

__all__ = ['NUSCENES_PRIORS', 'LSSSegmentor', 'LiftSplatNeck', 'LiftSplatOutput', 'PyramidHead']
