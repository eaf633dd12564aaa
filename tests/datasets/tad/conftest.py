"""The demo world, made once for all tests."""

from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from mmopt.datasets.tad import MABeDataset
from mmopt.datasets.tad.demo.make import make_demo

PARTS = ['nose', 'ear_left', 'ear_right', 'neck', 'body_center', 'hip_left', 'hip_right', 'tail_base']
AUGMENT = [dict(type='CutTracks', jitter=30), dict(type='ShuffleMice'), dict(type='MirrorArena')]
FINISH = [dict(type='MotionFeatures', body_parts=PARTS, num_mice=3), dict(type='PackTracks')]


@pytest.fixture(scope='session')
def mice(tmp_path_factory) -> Path:
    """Return the root of a demo world of six short videos, not to be written into."""
    return make_demo(tmp_path_factory.mktemp('demo') / 'mabe', 4, 2, video_s=20.0).out


@pytest.fixture
def build(mice):
    def _build(split: str = 'train', *, augment: bool = False, **changes) -> MABeDataset:
        with DefaultScope.overwrite_default_scope('mmopt'):
            options = dict(
                data_root=str(mice),
                split_file=f'splits/{split}.txt',
                window=200,
                overlap=100,
                pipeline=(AUGMENT if augment else [dict(type='CutTracks')]) + FINISH,
                test_mode=split == 'val',
            )
            return MABeDataset(**(options | changes))

    return _build
