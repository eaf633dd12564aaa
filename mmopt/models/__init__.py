"""Models, task by task; importing this package registers them."""

from mmopt.models import bev, common, detection, segmentation, tad, video

__all__ = ['bev', 'common', 'detection', 'segmentation', 'tad', 'video']
