"""Temporal action detection on animal tracks, in the layout of Kaggle's MABe challenge."""

from mmopt.datasets.tad.mabe import MABeDataset
from mmopt.datasets.tad.transforms import CutTracks, MirrorArena, MotionFeatures, PackTracks, ShuffleMice

__all__ = ['CutTracks', 'MABeDataset', 'MirrorArena', 'MotionFeatures', 'PackTracks', 'ShuffleMice']
