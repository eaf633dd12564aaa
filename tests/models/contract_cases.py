"""A small model and a preprocessed batch of every registered task model, for contracts that hold for all of them."""

from collections.abc import Callable

from torch import nn

__all__ = ['CASES']


def _bev() -> tuple[nn.Module, dict]:
    import copy

    import torch

    from mmopt.registry import MODELS
    from tests.models.bev.test_lss_segmentor import SMALL, make_batch

    model = MODELS.build(copy.deepcopy(SMALL))
    # The classifier begins at zero and would hide every other gradient.
    torch.nn.init.normal_(model.head.classifier.weight, std=0.1)
    return model, make_batch(model, 3)


def _tad(build: str) -> tuple[nn.Module, dict]:
    from tests.models.tad import conftest

    return getattr(conftest, build)(), conftest.make_batch()


def _detection() -> tuple[nn.Module, dict]:
    from tests.models.detection import conftest

    return conftest.build(), conftest.make_batch()


def _segmentation() -> tuple[nn.Module, dict]:
    from tests.models.segmentation import conftest

    # Hard pixels are chosen per part, which the model says in the log: the one thing that is not exact.
    return conftest.build(ohem_threshold=None, point_head=conftest.POINTS), conftest.make_batch()


def _video() -> tuple[nn.Module, dict]:
    from tests.models.video import conftest

    return conftest.build(keypoints=True), conftest.make_batch()


CASES: dict[str, Callable[[], tuple[nn.Module, dict]]] = {
    'AnchorDetector': _detection,
    'BoundarySegmentor': _segmentation,
    'FrameClassifier': lambda: _tad('build_v6'),
    'IntervalDetector': lambda: _tad('build_v7'),
    'LSSSegmentor': _bev,
    'MultiViewRecognizer': _video,
}
"""Registered name -> model and batch of at least three samples whose labels differ in number."""
