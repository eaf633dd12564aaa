import numpy as np
import pytest
import torch

from mmopt.datasets.common import Normalize, PhotoMetricDistortion, Resize, pack_inputs
from mmopt.datasets.common.transforms import DrawPhotometric
from mmopt.registry import TRANSFORMS


def image(seed: int = 0, height: int = 9, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class _Scripted:
    """A generator that returns what a test wrote down."""

    def __init__(self, *values):
        self.values = list(values)

    def integers(self, *_):
        return self.values.pop(0)

    uniform = integers


@pytest.mark.parametrize(
    ('draws', 'pixel', 'expected'),
    [
        # coin, value per step: brightness, [order], contrast, saturation, hue
        ((1, 20.7, 1, 0, 0, 0), (10, 100, 250), (30, 120, 255)),  # 30.7 is truncated, 270.7 clipped
        ((1, -20.0, 1, 0, 0, 0), (10, 100, 250), (0, 80, 230)),
        ((0, 1, 1, 1.5, 0, 0), (11, 100, 250), (16, 150, 255)),
        ((0, 0, 0, 0, 1, 0.5), (11, 100, 250), (5, 50, 125)),  # contrast after the colors
        ((0, 1, 0, 1, 0.5, 0), (100, 0, 0), (100, 50, 50)),  # S of 255 becomes 127: 100 * (1 - 127/255) = 50.2
        ((0, 1, 0, 0, 1, 60), (200, 0, 0), (0, 200, 0)),  # 60 half degrees turn red into green
        ((0, 1, 0, 0, 1, -60), (200, 0, 0), (0, 0, 200)),
    ],
)
def test_photometric_distortion_by_hand(draws, pixel, expected):
    results = dict(img=np.full((1, 1, 3), pixel, np.uint8), rng=_Scripted(*draws), channel_order='rgb')
    assert PhotoMetricDistortion()(results)['img'].ravel().tolist() == list(expected)
    assert not results['rng'].values


def test_photometric_distortion_of_bgr_is_that_of_rgb():
    rgb = image()
    for seed in range(8):
        first = PhotoMetricDistortion()(dict(img=rgb, rng=np.random.default_rng(seed), channel_order='rgb'))['img']
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        other = PhotoMetricDistortion()(dict(img=bgr, rng=np.random.default_rng(seed)))['img']
        assert np.array_equal(first, other[..., ::-1])


def test_distorting_normalized_values_says_where_it_belongs():
    with pytest.raises(ValueError, match='got float32: place it before Normalize'):
        PhotoMetricDistortion()(dict(img=image().astype(np.float32), rng=np.random.default_rng(0)))


def test_the_loader_draws_for_the_device_what_its_generator_says():
    def draw(seed):
        results = dict(rng=np.random.default_rng(seed), fields=[])
        return DrawPhotometric(hue_delta=5)(results)

    assert draw(1)['fields'] == ['photometric']
    assert draw(1)['photometric'].dtype == np.float32
    assert np.array_equal(draw(1)['photometric'], draw(1)['photometric'])
    assert len({draw(seed)['photometric'].tobytes() for seed in range(20)}) > 15


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
@pytest.mark.parametrize('to_rgb', [True, False])
def test_normalize_gives_the_channel_order_it_is_asked_for(order, to_rgb):
    img = image()
    out = Normalize([1, 2, 3], [4, 5, 6], to_rgb=to_rgb)(dict(img=img, channel_order=order))['img']
    wanted = img if (order == 'rgb') == to_rgb else img[..., ::-1]
    np.testing.assert_allclose(out, (wanted.astype(np.float32) - [1, 2, 3]) / [4, 5, 6], rtol=1e-6)


def test_resize_scales_the_camera_with_the_image_and_leaves_the_callers_matrix_alone():
    matrix = np.array([[100, 0, 8], [0, 100, 4.5], [0, 0, 1]], np.float32)
    results = Resize(scale=(32, 9))(dict(img=image(), intrinsics=matrix))
    assert results['img'].shape == (9, 32, 3)
    assert results['intrinsics'].tolist() == [[200, 0, 16], [0, 100, 4.5], [0, 0, 1]]
    assert matrix[0, 0] == 100


@pytest.mark.parametrize(('resize_gt', 'shape'), [(True, (18, 32)), (False, (9, 16))])
def test_resize_takes_labels_along_only_when_asked(resize_gt, shape):
    results = dict(img=image(), gt_seg_map=np.zeros((9, 16), np.uint8))
    assert Resize(img_scale=(32, 18), resize_gt=resize_gt)(results)['gt_seg_map'].shape == shape


def test_packing_keeps_named_facts_and_turns_fields_into_tensors():
    img = image()
    results = dict(img=img, channel_order='rgb', img_path='a.png', flip=True, points=np.ones(3), fields=['points'])
    item = pack_inputs(results, meta_keys=('flip', 'absent'))
    assert torch.equal(item['inputs'], torch.from_numpy(img).permute(2, 0, 1))
    assert item['data_samples'].metainfo == dict(img_path='a.png', flip=True)
    assert torch.equal(item['data_samples'].points, torch.ones(3, dtype=torch.float64))


def test_an_image_that_mmcv_loaded_as_bgr_is_packed_as_rgb():
    img = image()
    assert torch.equal(pack_inputs(dict(img=img, fields=[]))['inputs'], torch.from_numpy(img).permute(2, 0, 1).flip(0))


def test_a_distortion_for_the_device_of_a_normalized_image_is_an_error():
    results = Normalize([1, 2, 3], [4, 5, 6])(dict(img=image(), fields=[], rng=np.random.default_rng(0)))
    with pytest.raises(ValueError, match='Leave Normalize to the data preprocessor'):
        pack_inputs(DrawPhotometric()(results))


def test_transforms_that_mmopt_lacks_come_from_mmcv():
    results = TRANSFORMS.build(dict(type='CenterCrop', crop_size=(4, 4)))(dict(img=image()))
    assert results['img'].shape == (4, 4, 3)
