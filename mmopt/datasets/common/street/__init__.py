"""A generated street world, photographed: what the demo sets of several tasks show.

A street (:mod:`street`) with traffic (:mod:`traffic`) and scenery (:mod:`scenery`) under some light (:mod:`light`) is
photographed (:mod:`render`); each task labels the same description, so picture and label agree exactly.
"""

from mmopt.datasets.common.street.camera import Camera
from mmopt.datasets.common.street.render import World, render, sample_world

__all__ = ['Camera', 'World', 'render', 'sample_world']
