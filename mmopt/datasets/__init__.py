"""Data sets and transforms, task by task; importing this package registers them."""

from mmopt.datasets import bev, common, detection, segmentation, tad, video

__all__ = ['bev', 'common', 'detection', 'segmentation', 'tad', 'video']
