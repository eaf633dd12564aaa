"""Data sets, loading and augmentation, on generated and on real samples."""

import cv2
import numpy as np
import pytest
import torch

from mmopt.datasets.segmentation import (
    BoundaryRegions,
    CityscapesDataset,
    ImageMaskDataset,
    LoadBorderDistance,
    RandomScaleCropFlip,
)
from mmopt.registry import MODELS
from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.seeding import SampleIndex

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadSegmentationLabel')]
CLASSES = dict(classes=('ground', 'thing', 'sky'))


def make_folders(root, count: int = 2, size: tuple[int, int] = (40, 60), suffix: str = ''):
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder / 'a').mkdir(parents=True)
    for index in range(count):
        mask = rng.integers(0, 3, (4, 6)).astype(np.uint8)
        mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / f'images/a/{index}.png'), np.dstack([mask * 80] * 3))
        cv2.imwrite(str(root / f'masks/a/{index}{suffix}.png'), mask)
    return root


def folders(root, pipeline=(), **options) -> ImageMaskDataset:
    options = dict(metainfo=CLASSES) | options
    return ImageMaskDataset(str(root), 'images', 'masks', pipeline=pipeline, **options)


def test_an_image_finds_its_mask_in_subfolders_and_by_suffix(tmp_path):
    dataset = folders(make_folders(tmp_path, suffix='_mask'), [*LOAD, dict(type='PackInputs')], mask_suffix='_mask')
    assert len(dataset) == 2
    item = dataset[1]
    assert item['inputs'].shape == (3, 40, 60)
    assert item['data_samples'].label.dtype == torch.uint8
    assert torch.equal(item['inputs'][0], item['data_samples'].label * 80)
    assert item['data_samples'].num_classes == 3


def test_values_are_mapped_and_unknown_ones_are_named(tmp_path):
    root = make_folders(tmp_path, 1)
    cv2.imwrite(str(root / 'masks/a/0.png'), np.tile(np.array([[0, 1, 200, 255]], np.uint8), (40, 15)))
    mapped = folders(root, [*LOAD, dict(type='PackInputs')], label_map={200: 2, 1: 255})
    assert mapped[0]['data_samples'].label[0, :4].tolist() == [0, 255, 2, 255]
    with pytest.raises(DataError, match=r'holds \[200\], which are neither classes nor to be ignored'):
        folders(root, LOAD)[0]
    with pytest.raises(ValueError, match='200 -> 7 is not allowed'):
        folders(root, LOAD, label_map={200: 7})


def test_binary_masks_are_two_classes(tmp_path):
    root = make_folders(tmp_path, 1)
    cv2.imwrite(str(root / 'masks/a/0.png'), np.tile(np.array([[0, 255]], np.uint8), (40, 30)))
    dataset = folders(root, [*LOAD, dict(type='PackInputs')], label_map={255: 1}, metainfo=dict(classes=('no', 'yes')))
    assert dataset[0]['data_samples'].label.unique().tolist() == [0, 1]


def test_what_is_missing_or_does_not_fit_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match='images does not exist. Set data.data_root, or make the demo'):
        folders(tmp_path)
    root = make_folders(tmp_path)
    with pytest.raises(DataError, match='no classes; give metainfo'):
        ImageMaskDataset(str(root), 'images', 'masks')
    cv2.imwrite(str(root / 'masks/a/0.png'), np.zeros((20, 20), np.uint8))
    with pytest.raises(DataError, match='the mask is 20x20, its image .* is 60x40'):
        folders(root, LOAD)[0]
    cv2.imwrite(str(root / 'masks/a/0.png'), np.arange(7200, dtype=np.uint8).reshape(40, 60, 3))
    with pytest.raises(DataError, match='a mask has one number per pixel, this has 3 channels of colors'):
        folders(root, LOAD)[0]
    (root / 'masks/a/1.png').unlink()
    with pytest.raises(DataError, match='1 of 2 images .* have no mask in .*a/1.png'):
        folders(root)


def augmented(image, label, crop, scale, seed=0, flip=0.0) -> dict:
    results = dict(img=image, label=label, fields=[], rng=np.random.default_rng(seed))
    results = LoadBorderDistance(None).transform(results)
    results = RandomScaleCropFlip(crop, (scale, scale), flip).transform(results)
    return BoundaryRegions().transform(results)


def smooth(height=64, width=96) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 255, (8, 12, 3)).astype(np.uint8), (width, height))
    label = cv2.resize(rng.integers(0, 4, (4, 6)).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return image, label


@pytest.mark.parametrize('scale', [0.5, 1.0, 1.5, 2.0])
def test_a_crop_is_a_part_of_the_scaled_image(scale):
    image, label = smooth()
    results = augmented(image, label, (24, 32), scale)
    tall, wide = round(64 * scale), round(96 * scale)
    unit = np.random.default_rng(0).random(4)
    top, left = int(unit[1] * (tall - 24 + 1)), int(unit[2] * (wide - 32 + 1))
    scaled = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_LINEAR)[top : top + 24, left : left + 32]
    inner = (slice(2, -2), slice(2, -2))
    assert np.abs(results['img'].astype(int) - scaled.astype(int))[inner].max() <= 4
    label = cv2.resize(label, (wide, tall), interpolation=cv2.INTER_NEAREST)[top : top + 24, left : left + 32]
    assert (results['label'] == label)[inner].mean() > 0.97


def test_image_label_and_regions_are_mirrored_together():
    image, label = smooth()
    plain, flipped = (augmented(image, label, (64, 96), 1.0, flip=prob) for prob in (0.0, 1.0))
    for key in ('img', 'label', 'regions'):
        assert np.array_equal(plain[key][:, ::-1], flipped[key]), key


def test_what_lies_outside_is_ignored_and_gray():
    image, label = smooth()
    results = augmented(image, label, (80, 128), 0.5)
    assert (results['label'][40:] == 255).all()
    assert (results['img'][40:] == 114).all()
    assert not results['regions'][40:].any()
    assert (results['label'][:30, :40] != 255).all()


@pytest.mark.parametrize('scale', [0.5, 1.0, 2.0])
def test_the_band_keeps_its_width_when_an_image_is_scaled(scale):
    image, label = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    label[:, 32:] = 1
    size = round(64 * scale)
    results = augmented(image, label, (size, size), scale)
    assert (results['regions'][size // 2] & 1).sum() == pytest.approx(4, abs=2 * scale)


@pytest.mark.parametrize('size', [64, (64,), (0, 64)])
def test_a_crop_without_height_and_width_is_refused(size):
    with pytest.raises(ValueError, match='crop_size is a height and a width in pixels'):
        RandomScaleCropFlip(size)


def test_an_epochs_augmentation_is_its_own_and_repeatable(tmp_path):
    pipeline = [*LOAD, dict(type='RandomScaleCropFlip', crop_size=(32, 32)), dict(type='PackInputs')]
    dataset = folders(make_folders(tmp_path), pipeline)
    first, again, later = (dataset[SampleIndex(0, 5, epoch)]['inputs'] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_stored_samples_are_what_the_pipeline_makes(tmp_path):
    """data.cache keeps image, label and distances; what is drawn by chance stays so."""
    pipeline = [
        *LOAD,
        dict(type='LoadBorderDistance', cache_dir='cache/distance'),
        dict(type='RandomScaleCropFlip', crop_size=(32, 32)),
        dict(type='BoundaryRegions'),
        dict(type='PackInputs'),
    ]
    plain, stored = (folders(make_folders(tmp_path / name), pipeline) for name in ('a', 'b'))
    stored.prepare_cache('disk', tmp_path / 'samples', num_workers=0)
    assert stored._cached is not None
    assert stored._cached.length == 3  # up to the distances
    for epoch in range(2):
        one, other = (dataset[SampleIndex(1, 3, epoch)] for dataset in (plain, stored))
        assert torch.equal(one['inputs'], other['inputs'])
        for field in ('label', 'regions'):
            assert torch.equal(one['data_samples'].get(field), other['data_samples'].get(field))


def test_pictures_show_image_prediction_and_truth(tmp_path):
    dataset = folders(make_folders(tmp_path), [*LOAD, dict(type='PackInputs')])
    item = dataset[0]
    sample = item['data_samples']
    without = dataset.draw(sample, item['inputs'])
    sample.pred_label = torch.zeros_like(sample.label)
    picture = dataset.draw(sample, item['inputs'])
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 1.4 * without.shape[1]


@pytest.fixture
def pair(shared_dir):
    return shared_dir / 'data/cityscapes_pair'


def test_the_real_label_ids_give_the_official_train_ids(pair):
    pipeline = [*LOAD, dict(type='PackInputs')]
    ids, train_ids = (
        CityscapesDataset(str(pair), 'val', kind, pipeline=pipeline)[0] for kind in ('labelIds', 'labelTrainIds')
    )
    mine, official = ids['data_samples'].label, train_ids['data_samples'].label
    # The sample's two files were made smaller separately and differ at a few borders; every class is its own.
    assert (mine == official).float().mean() > 0.997
    assert all(official[mine == value].mode().values == value for value in mine.unique())
    assert ids['inputs'].shape == (3, 128, 256)
    with pytest.raises(ValueError, match="label_kind must be one of .*got 'color'"):
        CityscapesDataset(str(pair), 'val', 'color')
    with pytest.raises(DataNotFoundError, match='leftImg8bit/train does not exist'):
        CityscapesDataset(str(pair), 'train')


def test_the_real_pair_trains_and_predicts_through_the_whole_pipeline(pair, tmp_path):
    from tests.models.segmentation.conftest import SMALL

    pipeline = [
        *LOAD,
        dict(type='LoadBorderDistance', cache_dir=str(tmp_path / 'maps')),
        dict(type='RandomScaleCropFlip', crop_size=(96, 128)),
        dict(type='BoundaryRegions'),
        dict(type='DrawPhotometric'),
        dict(type='PackInputs'),
    ]
    dataset = CityscapesDataset(str(pair), 'val', pipeline=pipeline)
    items = [dataset[SampleIndex(0, 0, epoch)] for epoch in range(2)]
    head = dict(type='SegmentationHead', in_channels=16, channels=16, num_classes=19)
    model = MODELS.build(SMALL | dict(head=head, auxiliary_heads=None))
    batch = dict(
        inputs=torch.stack([item['inputs'] for item in items]), data_samples=[item['data_samples'] for item in items]
    )
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    assert len(list((tmp_path / 'maps').iterdir())) == 1
