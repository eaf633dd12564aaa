"""nuScenes in the single-camera BEV layout."""

from mmopt.datasets.bev.mmcv1 import load_bev_annotations
from mmopt.datasets.bev.nuscenes import NuScenesBEVDataset
from mmopt.datasets.bev.pictures import draw_bev_map, draw_bev_sample
from mmopt.datasets.bev.transforms import LABEL_SHAPE, LoadBEVLabel, PackBEVInputs

__all__ = [
    'LABEL_SHAPE',
    'LoadBEVLabel',
    'NuScenesBEVDataset',
    'PackBEVInputs',
    'draw_bev_map',
    'draw_bev_sample',
    'load_bev_annotations',
]
