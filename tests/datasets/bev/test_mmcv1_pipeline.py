"""DiffBEV's own pipelines run as they stand and give the same sample as mmopt's."""

import pytest
import torch

from mmopt.datasets.bev import NuScenesBEVDataset
from mmopt.registry import DATASETS, TRANSFORMS

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
META = ('filename', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'img_norm_cfg', 'calib')
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=False, with_calib=True, imdecode_backend='pyramid'),
]
TRAIN = [
    *LOAD,
    dict(type='Resize', img_scale=(800, 600), resize_gt=False, keep_ratio=False),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **NORM),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg'], meta_keys=META),
]
TEST = [
    *LOAD,
    dict(
        type='MultiScaleFlipAug',
        img_scale=(800, 600),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=False, resize_gt=False),
            dict(type='RandomFlip'),
            dict(type='Normalize', **NORM),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img'], meta_keys=(*META, 'gt_semantic_seg')),
        ],
    ),
]
OURS = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='Resize', scale=(800, 600)),
    dict(type='PackBEVInputs'),
]


def test_the_test_pipeline_gives_our_sample_normalized(make_nuscenes):
    root = str(make_nuscenes(1))
    theirs = NuScenesBEVDataset(root, pipeline=TEST)[0]
    ours = NuScenesBEVDataset(root, pipeline=OURS)[0]
    mean, std = (torch.tensor(NORM[key]).view(3, 1, 1) for key in ('mean', 'std'))
    torch.testing.assert_close(theirs['inputs'], (ours['inputs'].float() - mean) / std, rtol=0, atol=1e-6)
    assert torch.equal(theirs['data_samples'].label_bits, ours['data_samples'].label_bits)
    assert torch.equal(theirs['data_samples'].intrinsics, ours['data_samples'].intrinsics)
    assert theirs['data_samples'].scale_factor == (0.5, 600 / 900)


def test_the_train_pipeline_runs_under_the_original_names(make_nuscenes):
    dataset = DATASETS.build(dict(type='NuscenesDataset', data_root=str(make_nuscenes(1)), pipeline=TRAIN))
    item = dataset[0]
    assert item['inputs'].dtype == torch.float32
    assert item['inputs'].abs().max() < 3
    assert item['data_samples'].label_bits.shape == (196, 200)


@pytest.mark.parametrize(
    ('transform', 'text'),
    [
        (dict(type='MultiScaleFlipAug', img_scale=[(8, 6), (4, 3)], transforms=[]), 'test-time augmentation is not'),
        (dict(type='MultiScaleFlipAug', img_scale=(8, 6), flip=True, transforms=[]), 'test-time augmentation is not'),
        (dict(type='Collect', keys=['gt_semantic_seg']), "keys must contain 'img'"),
        (dict(type='ImageToTensor', keys=['depth']), r"only keys=\['img'\] is supported"),
        (dict(type='LoadAnnotations', with_calib=True, reduce_zero_label=True), 'have no meaning for them'),
        (dict(type='LoadAnnotations', reduce_zero_label=True), 'reduce_zero_label=True is unsupported'),
        (dict(type='Resize', keep_ratio=True), 'Resize needs one'),
        (dict(type='Resize', img_scale=[(8, 6), (4, 3)]), 'Resize needs one'),
    ],
)
def test_what_cannot_run_says_so(transform, text):
    with pytest.raises(ValueError, match=text):
        TRANSFORMS.build(transform)
