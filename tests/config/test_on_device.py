import copy

import pytest
import torch

from mmopt.config import lower
from mmopt.config.on_device import move_to_device
from mmopt.datasets.bev import NuScenesBEVDataset
from mmopt.models.common import ImagePreprocessor
from tests.config.samples import make_config
from tests.datasets.bev.conftest import make_nuscenes  # noqa: F401  a fixture
from tests.datasets.bev.test_mmcv1_pipeline import NORM, TEST, TRAIN

PREPROCESSOR = dict(type='ImagePreprocessor', mean=tuple(NORM['mean']), std=tuple(NORM['std']))


def lowered(train: list, val: list, preprocessor: dict | None = PREPROCESSOR) -> dict:
    part = dict(type='NuScenesBEVDataset')
    data = dict(samples_per_gpu=2, train=dict(part, pipeline=train), val=dict(part, pipeline=val))
    model = dict(type='LSSSegmentor') | ({} if preprocessor is None else dict(data_preprocessor=preprocessor))
    return lower(make_config(model=model, data=data))


def names(cfg: dict, split: str) -> list[str]:
    return [transform['type'] for transform in cfg[f'{split}_dataloader']['dataset']['pipeline']]


def test_a_pipeline_of_mmcv_1_leaves_distortion_and_normalization_to_the_device():
    cfg = lowered(TRAIN, TEST)
    assert names(cfg, 'train') == [
        'LoadImageFromFile', 'LoadAnnotations', 'Resize', 'DrawPhotometric', 'DefaultFormatBundle', 'Collect'
    ]  # fmt: skip
    inner = cfg['val_dataloader']['dataset']['pipeline'][-1]['transforms']
    assert [transform['type'] for transform in inner] == ['Resize', 'RandomFlip', 'ImageToTensor', 'Collect']


def test_the_arguments_of_the_distortion_are_kept_and_nothing_handed_in_is_changed():
    train = [dict(t, hue_delta=5) if t['type'] == 'PhotoMetricDistortion' else t for t in TRAIN]
    before = copy.deepcopy(train)
    cfg = lowered(train, TEST)
    assert cfg['train_dataloader']['dataset']['pipeline'][3] == dict(type='DrawPhotometric', hue_delta=5)
    assert train == before


def test_data_sets_inside_wrappers_are_found():
    part = dict(type='NuScenesBEVDataset', pipeline=TRAIN)
    inside = dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[part, part]))
    cfg = move_to_device(dict(model=dict(data_preprocessor=PREPROCESSOR), train_dataloader=dict(dataset=inside)))
    for found in cfg['train_dataloader']['dataset']['dataset']['datasets']:
        assert 'Normalize' not in [transform['type'] for transform in found['pipeline']]


@pytest.mark.parametrize(
    ('preprocessor', 'extra'),
    [
        (None, []),
        (dict(PREPROCESSOR, mean=(0.0, 0.0, 0.0)), []),
        (dict(type='DetDataPreprocessor', mean=NORM['mean'], std=NORM['std']), []),
        (PREPROCESSOR, [dict(type='Pad', size_divisor=32)]),  # pads with zeros after normalizing
        (PREPROCESSOR, [dict(type='SomebodysTransform')]),
    ],
)
def test_what_would_change_a_value_stays_where_it_is(preprocessor, extra):
    pipeline = [*TRAIN[:-2], *extra, *TRAIN[-2:]]
    assert names(lowered(pipeline, TEST, preprocessor), 'train') == [transform['type'] for transform in pipeline]


def test_the_network_sees_the_same_image_in_an_evaluation(make_nuscenes):  # noqa: F811
    root = str(make_nuscenes(1))
    moved = lowered(TRAIN, TEST)['val_dataloader']['dataset']['pipeline']
    assert moved != TEST
    preprocessor = ImagePreprocessor(NORM['mean'], NORM['std'])
    images = []
    for pipeline in (TEST, moved):
        sample = NuScenesBEVDataset(root, pipeline=pipeline)[0]
        images.append(preprocessor(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))['inputs'])
    torch.testing.assert_close(images[0], images[1], rtol=0, atol=1e-5)


def test_the_network_sees_the_same_distribution_in_training(make_nuscenes):  # noqa: F811
    from mmopt.utils.seeding import SampleIndex

    root = str(make_nuscenes(1))
    moved = lowered(TRAIN, TEST)['train_dataloader']['dataset']['pipeline']
    assert moved != TRAIN
    preprocessor = ImagePreprocessor(NORM['mean'], NORM['std'])
    small = dict(type='Resize', img_scale=(32, 24), keep_ratio=False)  # statistics need draws, not pixels
    moments = []
    for pipeline in (TRAIN, moved):
        pipeline = [small if transform['type'] == 'Resize' else transform for transform in pipeline]
        dataset = NuScenesBEVDataset(root, pipeline=[*pipeline])
        dataset.prepare_cache('ram')  # decoding is the same for both
        draws = []
        for epoch in range(400):
            sample = dataset[SampleIndex(0, 1, epoch)]
            batch = dict(inputs=sample['inputs'][None], data_samples=[sample['data_samples']])
            image = preprocessor(batch, True)['inputs'][0]
            draws.append(torch.stack([image.mean(), image.std(), (image[0] - image[2]).std()]))
        draws = torch.stack(draws)
        moments.append((draws.mean(0), draws.std(0)))
    (mean, std), (other_mean, other_std) = moments
    # Means of 400 draws scatter by std / 20 each; the original rounds to whole gray levels (about 0.01).
    assert (mean - other_mean).abs().max() < 4 * (2**0.5) * std.max() / 20 + 0.01
    torch.testing.assert_close(std, other_std, rtol=0.2, atol=0.01)
