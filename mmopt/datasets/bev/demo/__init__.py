"""A generated street world in nuScenes' layout: a data set to try everything with, made in seconds.

A street (:mod:`street`) with traffic (:mod:`traffic`) and scenery (:mod:`scenery`) under some light (:mod:`light`) is
photographed (:mod:`render`) and labelled (:mod:`labels`) from one description, so picture and label agree exactly.
"""

from mmopt.datasets.bev.demo.camera import Camera
from mmopt.datasets.bev.demo.make import Made, make_demo, make_sample

__all__ = ['Camera', 'Made', 'make_demo', 'make_sample']
