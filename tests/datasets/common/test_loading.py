import cv2
import numpy as np
import pytest

from mmopt.datasets.common import LoadImageFromFile, decode_file
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
    with pytest.raises(DataError, match=rf'a\{suffix}: the file is truncated after 2000 bytes'):
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
