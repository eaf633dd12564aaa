"""A generated street world in nuScenes' layout: a data set to try everything with, made in seconds.

The world is :mod:`mmopt.datasets.common.street`, labeled from above by :mod:`labels`.
"""

from mmopt.datasets.bev.demo.make import make_demo, make_sample

__all__ = ['make_demo', 'make_sample']
