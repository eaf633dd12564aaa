"""Small models of the five tasks whose predictions differ from sample to sample, with a collated batch of each."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mmopt.models.common import ImagePreprocessor
from mmopt.registry import MODELS
from mmopt.structures import DataSample


def _pictures(size: tuple[int, int], **meta: Any) -> dict[str, Any]:
    images = torch.randint(256, (2, 3, *size), dtype=torch.uint8)
    samples = [DataSample(metainfo=dict(img_shape=size, ori_shape=size) | meta) for _ in images]
    return dict(inputs=list(images), data_samples=samples)


def detector(**changes: Any) -> tuple[Any, dict[str, Any]]:
    from tests.models.detection.conftest import build

    model = build(score_threshold=0.0, **changes)
    model.data_preprocessor = ImagePreprocessor((0.0,) * 3, (255.0,) * 3)
    with torch.no_grad():
        for _ in range(20):
            model.train()(torch.rand(4, 3, 64, 96), mode='tensor')  # statistics for the normalization
        for conv in model.head.convs:
            conv.weight.mul_(3)
            conv.bias.zero_()
    return model, _pictures((64, 96))


def segmentor(**changes: Any) -> tuple[Any, dict[str, Any]]:
    from tests.models.segmentation.conftest import build

    return build(eval_flip=True, **changes), _pictures((64, 96))


def resized_segmentor() -> tuple[Any, dict[str, Any]]:
    return segmentor()[0], _pictures((64, 96), ori_shape=(100, 150))


def bev(**changes: Any) -> tuple[Any, dict[str, Any]]:
    from tests.models.bev.test_lss_segmentor import SMALL, make_batch

    model = MODELS.build(copy.deepcopy(SMALL) | changes)
    nn.init.normal_(model.head.classifier.weight, std=0.1)  # it begins at zero
    batch = make_batch(model, 2)
    return model, dict(batch, inputs=torch.randint(256, batch['inputs'].shape, dtype=torch.uint8))


def intervals(**changes: Any) -> tuple[Any, dict[str, Any]]:
    from tests.models.tad.conftest import build_v7, make_batch

    model = build_v7(score_threshold=0.4, joint_score=True, **changes)
    with torch.no_grad():
        for head in model.heads.values():
            head[-1].weight.mul_(10)
            head[-1].bias.zero_()
    return model, make_batch()


def frames() -> tuple[Any, dict[str, Any]]:
    from tests.models.tad.conftest import build_v6, make_batch

    model = build_v6(smooth=3, min_frames=2).eval()
    batch = make_batch()
    batch['inputs']['features'] *= 20  # so that neighboring frames differ
    with torch.no_grad():
        for name, mean in model(batch['inputs']).items():
            model.heads[name][-1].weight.mul_(60)
            model.heads[name][-1].bias.sub_(mean.mean(dim=(0, 1))).mul_(60)
    return model, batch


def recognizer(encoder: str) -> tuple[Any, dict[str, Any]]:
    from tests.models.video.conftest import build, make_batch

    batch = make_batch()
    model = build(encoder, keypoints=True, data_preprocessor=dict(type='mmopt.VideoPreprocessor'))
    clips = {
        name: value if name == 'keypoints' else (255 * value).to(torch.uint8) for name, value in batch['inputs'].items()
    }
    return model, dict(batch, inputs=clips)


CASES: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = dict(
    detection=detector,
    detection_augmented=lambda: detector(eval_scales=(0.5, 1.0), eval_flip=True),
    segmentation=segmentor,
    segmentation_resized=resized_segmentor,
    bev=bev,
    bev_flipped=lambda: bev(eval_flip=True),
    tad=intervals,
    tad_frames=frames,
    video_conv3d=lambda: recognizer('conv3d'),
    video_transformer=lambda: recognizer('transformer'),
    video_mamba=lambda: recognizer('mamba'),
)


def build_case(name: str) -> tuple[Any, dict[str, Any]]:
    """Return a model in evaluation mode, and a batch."""
    torch.manual_seed(0)
    model, batch = CASES[name]()
    return model.eval(), batch
