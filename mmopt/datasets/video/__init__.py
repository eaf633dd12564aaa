"""Multi-view driver actions."""

from mmopt.datasets.video.driver import DriverActionDataset
from mmopt.datasets.video.transforms import LoadDriverClip, PackDriverClip

__all__ = ['DriverActionDataset', 'LoadDriverClip', 'PackDriverClip']
