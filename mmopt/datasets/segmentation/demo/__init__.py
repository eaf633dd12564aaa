"""The street world (:mod:`mmopt.datasets.common.street`) labeled pixel by pixel, in Cityscapes' layout."""

from mmopt.datasets.segmentation.demo.make import make_demo, make_sample

__all__ = ['make_demo', 'make_sample']
