"""Masks as people have them: palettes, colors, 16 bits, and what contradicts."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmopt.datasets.segmentation import ImageMaskDataset
from mmopt.datasets.segmentation.image_mask import label_table
from mmopt.datasets.segmentation.masks import read_label, read_mask
from mmopt.structures.pixel_labels import ignored_label
from mmopt.utils.errors import DataError

INDICES = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
COLORS = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'mask.png')


@pytest.mark.parametrize('suffix', ['.png', '.bmp'])
def test_a_palette_gives_its_indices_and_not_its_colors(tmp_path, suffix):
    image = Image.fromarray(INDICES, mode='P')
    image.putpalette(COLORS.ravel().tolist())
    image.save(tmp_path / f'mask{suffix}')
    assert np.array_equal(read_mask(str(tmp_path / f'mask{suffix}')), INDICES)


def test_colors_are_found_in_the_palette_in_its_order(path):
    cv2.imwrite(path, COLORS[INDICES][..., ::-1])
    with pytest.raises(DataError, match=r'has 3 channels of colors. Name the color of each class: palette='):
        read_mask(path)
    assert np.array_equal(read_mask(path, COLORS.tolist()), INDICES)
    assert np.array_equal(read_mask(path, COLORS[::-1].tolist()), 2 - INDICES)
    with pytest.raises(DataError, match=r'16 pixels have colors that palette does not name, such as .0, 128, 0.'):
        read_mask(path, COLORS[:2].tolist())
    opaque = np.concatenate([COLORS[INDICES][..., ::-1], np.full((6, 8, 1), 255, np.uint8)], axis=-1)
    cv2.imwrite(path, opaque)
    assert np.array_equal(read_mask(path, COLORS.tolist()), INDICES)


def test_a_palette_file_may_be_read_by_its_colors(path):
    image = Image.fromarray(INDICES, mode='P')
    image.putpalette(COLORS.ravel().tolist())
    image.save(path)
    assert np.array_equal(read_mask(path, COLORS[::-1].tolist()), 2 - INDICES)


def test_three_equal_channels_are_one(path):
    cv2.imwrite(path, np.repeat(INDICES[..., None], 3, axis=-1))
    assert np.array_equal(read_mask(path), INDICES)


def test_sixteen_bits_hold_the_same_classes(path):
    cv2.imwrite(path, INDICES.astype(np.uint16))
    assert np.array_equal(read_label(path, label_table(3)), INDICES)
    cv2.imwrite(path, INDICES.astype(np.uint16) + 299)
    with pytest.raises(DataError, match=r'holds \[299, 300, 301\], which are neither classes nor to be ignored'):
        read_label(path, label_table(3))


def test_labels_take_two_bytes_only_where_one_does_not_hold_the_classes(path):
    cv2.imwrite(path, np.array([[0, 253, 255]], np.uint16))
    assert label_table(254).nbytes == 256
    assert read_label(path, label_table(254)).dtype == np.uint8
    values = np.array([[0, 254, 255, 256, 299, 65535]], np.uint16)
    cv2.imwrite(path, values)
    label_HW = read_label(path, label_table(300))
    assert label_HW.dtype == np.int16
    assert label_HW.tolist() == [[0, 254, 255, 256, 299, ignored_label(label_HW.dtype)]]
    with pytest.raises(DataError, match=r'holds \[299\], which are neither .* \(65535 ignores\)'):
        read_label(path, label_table(299))


def test_masks_of_8_bits_serve_many_classes_and_255_is_ignored_where_it_is_none(path):
    cv2.imwrite(path, np.array([[0, 254, 255]], np.uint8))
    assert read_label(path, label_table(256)).tolist() == [[0, 254, 255]]
    assert read_label(path, label_table(255)).tolist() == [[0, 254, ignored_label(np.dtype(np.int16))]]
    assert read_label(path, label_table(300, {255: 299, 0: 65535})).tolist() == [[32767, 254, 299]]


def test_the_map_names_values_of_16_bits(path):
    cv2.imwrite(path, np.array([[0, 1000, 65535]], np.uint16))
    assert read_label(path, label_table(2, {1000: 1, 65535: 255})).tolist() == [[0, 1, 255]]
    assert read_label(path, label_table(300, {1000: 299})).tolist() == [[0, 299, 32767]]
    assert read_label(path, label_table(300, {1000: 299, 65535: 7})).tolist() == [[0, 299, 7]]
    with pytest.raises(ValueError, match=r'1000 -> 300 is not allowed: values are 0-65535, classes 0-19, and 255'):
        label_table(20, {1000: 300})


def test_more_than_256_colors_have_places_of_16_bits(path):
    palette = [(index // 256, index % 256, 7) for index in range(300)]
    cv2.imwrite(path, np.array([[palette[299][::-1], palette[256][::-1], palette[0][::-1]]], np.uint8))
    assert read_mask(path, palette).tolist() == [[299, 256, 0]]


def test_more_classes_than_a_label_holds_are_refused():
    with pytest.raises(ValueError, match='32767 classes: a label has at most 32766'):
        label_table(32767)


@pytest.fixture
def folder(tmp_path):
    """A photo with its mask; ``folder(mask, orientation=3)`` writes both and returns the data set."""

    def _folder(mask, orientation=None, classes=('back', 'front'), **changes):
        for name in ('train', 'trainannot'):
            (tmp_path / name).mkdir(exist_ok=True)
        exif = Image.Exif()
        if orientation is not None:
            exif[0x0112] = orientation
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / 'train' / 'a.jpg', exif=exif)
        cv2.imwrite(str(tmp_path / 'trainannot' / 'a.png'), mask)
        pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadSegmentationLabel')]
        return ImageMaskDataset(str(tmp_path), pipeline=pipeline, metainfo=dict(classes=classes), **changes)

    return _folder


BINARY = (INDICES > 0).astype(np.uint8) * 255


def test_a_foreground_of_255_is_refused_until_the_map_says_what_it_is(folder):
    with pytest.raises(DataError, match=r'hold 0 and 255 alone, and 255 ignores. .* label_map=.255: 1.'):
        folder(BINARY)
    assert folder(BINARY, label_map={255: 1})[0]['label'].tolist() == (BINARY // 255).tolist()
    assert folder(BINARY, label_map={255: 255})[0]['label'].tolist() == BINARY.tolist()
    assert folder(BINARY, classes=('all',))[0]['label'].tolist() == BINARY.tolist()
    assert folder(BINARY * 0)[0]['label'].max() == 0


def test_a_photo_that_is_displayed_turned_needs_a_mask_that_is_sure(folder):
    assert folder(INDICES % 2, orientation=1)[0]['label'].shape == (6, 8)
    for orientation in (3, 6):
        with pytest.raises(DataError, match=f'a.jpg: its EXIF orientation {orientation} says .* -auto-orient'):
            folder(INDICES % 2, orientation=orientation)[0]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('binary_0_255', r'label_map=.255: 1.'),
        ('image_exif3', 'its EXIF orientation 3 says that it is displayed turned'),
    ],
)
def test_masks_of_others_are_refused(shared_dir, name, message):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadSegmentationLabel')]
    with pytest.raises(DataError, match=message):
        ImageMaskDataset(
            str(shared_dir / 'cases' / 'masks' / name), pipeline=pipeline, metainfo=dict(classes=('a', 'b', 'c'))
        )[0]


def test_a_mask_of_8_bits_says_what_255_is_where_it_is_a_class(shared_dir):
    root = shared_dir / 'cases' / 'masks' / 'classes_300'
    facts = dict(
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadSegmentationLabel')],
        metainfo=dict(classes=[str(index) for index in range(300)]),
    )
    with pytest.raises(DataError, match=r'a.png: a mask of 8 bits holds 255, .* with 300 classes it is one of them'):
        ImageMaskDataset(str(root), **facts)
    values = [np.unique(ImageMaskDataset(str(root), label_map={255: to}, **facts)[0]['label']) for to in (255, 65535)]
    assert [got.tolist() for got in values] == [[0, 1, 255], [0, 1, 32767]]


def test_the_palette_of_pascal_voc_is_read(shared_dir):
    (path,) = (shared_dir / 'cases' / 'masks' / 'P_voc_palette' / 'trainannot').iterdir()
    assert read_mask(str(path)).ndim == 2
