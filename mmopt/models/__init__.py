"""Models, task by task; importing this package registers them."""

from mmopt.models import bev, common, segmentation, tad

__all__ = ['bev', 'common', 'segmentation', 'tad']
