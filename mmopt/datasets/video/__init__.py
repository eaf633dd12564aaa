"""Multi-view driver actions."""

from mmopt.datasets.video.driver import DriverActionDataset
from mmopt.datasets.video.transforms import LoadDriverClip, PackDriverClip, ShiftDriverClip

__all__ = ['DriverActionDataset', 'LoadDriverClip', 'PackDriverClip', 'ShiftDriverClip']
