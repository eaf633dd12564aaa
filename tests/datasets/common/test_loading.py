import cv2
import numpy as np
import pytest
from PIL import Image

from mmopt.datasets.common import LoadImageFromFile, decode_file
from mmopt.datasets.common.decode import exif_orientation, read_encoded
from mmopt.utils.errors import DataError, DataNotFoundError


@pytest.fixture
def picture(tmp_path):
    def _write(suffix: str) -> str:
        path = str(tmp_path / f'a{suffix}')
        cv2.imwrite(path, np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
        return path

    return _write


def test_loading_gives_rgb_and_both_shapes(picture):
    path = picture('.png')
    results = LoadImageFromFile()(dict(img_path=path))
    assert np.array_equal(results['img'], cv2.imread(path)[..., ::-1])
    assert results['img_shape'] == results['ori_shape'] == (60, 80)
    assert LoadImageFromFile(to_float32=True)(dict(img_path=path))['img'].dtype == np.float32


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_truncated_file_is_an_error_not_a_gray_area(picture, suffix):
    path = picture(suffix)
    with open(path, 'r+b') as file:
        file.truncate(2000)
    with pytest.raises(DataError, match=rf'a\{suffix}: the file is truncated'):
        decode_file(path, cv2.IMREAD_COLOR)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_padding_after_the_end_does_no_harm(picture, suffix):
    path = picture(suffix)
    with open(path, 'ab') as file:
        file.write(bytes(512))
    assert decode_file(path, cv2.IMREAD_COLOR).shape == (60, 80, 3)


@pytest.mark.parametrize(('content', 'text'), [(b'', 'the file is empty'), (b'no image', r"not an image.*b'no image'")])
def test_what_is_no_image_says_what_it_is(tmp_path, content, text):
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf'a\.jpg: {text}'):
        decode_file(str(path), cv2.IMREAD_COLOR)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataNotFoundError, match='no such file'):
        decode_file(str(tmp_path / 'a.jpg'), cv2.IMREAD_COLOR)
    with pytest.raises(DataError, match='cannot be read: Is a directory'):
        decode_file(str(tmp_path), cv2.IMREAD_COLOR)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_decoding_to_rgb_at_once_equals_decoding_and_converting(tmp_path, monkeypatch, suffix):
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8), (160, 90))
    path = str(tmp_path / f'a{suffix}')
    cv2.imwrite(path, image)
    at_once = LoadImageFromFile()(dict(img_path=path))['img']
    monkeypatch.setattr('mmopt.datasets.common.loading._DECODE_RGB', None)
    assert np.array_equal(at_once, LoadImageFromFile()(dict(img_path=path))['img'])
    assert np.array_equal(at_once, cv2.imread(path)[..., ::-1])


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_file_that_is_damaged_in_the_middle_is_refused(picture, suffix):
    path = picture(suffix)
    with open(path, 'r+b') as file:
        file.seek(3000)
        file.write(bytes(range(1, 200)))
    with pytest.raises(DataError, match=rf'a\{suffix}: the file is (damaged|truncated)'):
        decode_file(path, cv2.IMREAD_COLOR)


@pytest.mark.parametrize('flags', [cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED])
@pytest.mark.parametrize('gray', [False, True])
def test_jpegs_decode_to_opencvs_values_whatever_follows_their_end(tmp_path, flags, gray):
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8), (161, 91))
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), image[..., 0] if gray else image)
    expected = cv2.imread(str(path), flags)
    with path.open('ab') as file:
        file.write(np.random.default_rng(0).bytes(300_000))
    assert np.array_equal(decode_file(path, flags), expected)


def with_orientation(path, orientation: int) -> str:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = np.arange(24 * 16 * 3, dtype=np.uint8).reshape(24, 16, 3)
    Image.fromarray(picture).save(path, quality=95, exif=exif)
    return str(path)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.filterwarnings('ignore:.*mirrors the picture')
def test_photos_are_turned_as_opencv_turns_them(tmp_path, orientation):
    path = with_orientation(tmp_path / 'a.jpg', orientation)
    for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED):
        assert np.array_equal(decode_file(path, flags), cv2.imread(path, flags))
    assert exif_orientation(read_encoded(path)) == orientation


def test_a_mirroring_orientation_is_said(tmp_path):
    with pytest.warns(UserWarning, match='its EXIF orientation 5 mirrors the picture; boxes have to be'):
        decode_file(with_orientation(tmp_path / 'a.jpg', 5), cv2.IMREAD_COLOR)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_deep_pictures_are_scaled_by_the_range_that_is_said(tmp_path, suffix):
    deep = np.linspace(1000, 4000, 60 * 80).reshape(60, 80).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f'a{suffix}'), deep)
    results = dict(img_path=str(tmp_path / f'a{suffix}'))
    with pytest.warns(
        UserWarning, match=r'16 bits lie between 1000 and 4000, of which 8 bits leave 3 to 15.*value_range'
    ):
        upper = LoadImageFromFile()(dict(results))['img']
    assert np.array_equal(upper[..., 0], deep // 256)
    scaled = LoadImageFromFile(value_range=(1000, 4000))(dict(results))['img']
    assert (scaled.min(), scaled.max(), scaled.dtype, scaled.shape) == (0, 255, np.uint8, (60, 80, 3))
    assert abs(scaled[..., 0] - (deep - 1000) / 3000 * 255).max() <= 0.51
    with pytest.raises(ValueError, match=r'value_range must be two numbers, the lower first'):
        LoadImageFromFile(value_range=(4095, 0))


def test_photos_of_others_are_read_or_refused(shared_dir):
    folder = shared_dir / 'cases' / 'images'
    assert decode_file(folder / 'camera.jpg', cv2.IMREAD_COLOR).shape == (480, 640, 3)
    with pytest.raises(DataError, match='corrupt_middle.jpg: the file is damaged'):
        decode_file(folder / 'corrupt_middle.jpg', cv2.IMREAD_COLOR)
    with pytest.warns(UserWarning, match='value_range'):
        LoadImageFromFile()(dict(img_path=str(folder / 'thermal12in16.png')))
