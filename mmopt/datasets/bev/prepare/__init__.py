"""Make the BEV layout from nuScenes or from a key frame: what ``tools/datasets/prepare_nuscenes.py`` calls."""

from mmopt.datasets.bev.prepare.labels import make_label
from mmopt.datasets.bev.prepare.run import Options, prepare, summarize
from mmopt.datasets.bev.prepare.views import Boxes, Ground, View

__all__ = ['Boxes', 'Ground', 'Options', 'View', 'make_label', 'prepare', 'summarize']
