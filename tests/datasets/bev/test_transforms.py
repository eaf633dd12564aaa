import numpy as np
import pytest
from mmcv.transforms import BaseTransform

from mmopt.datasets.bev.transforms import CropRows, RandomMirror

K = np.array([[100.0, 0.0, 11.0], [0.0, 90.0, 20.0], [0.0, 0.0, 1.0]], np.float32)


def sample() -> dict:
    """A white dot of the image, and the ground point under it."""
    results = dict(img=np.zeros((40, 24, 3), np.uint8), intrinsics=K, label_bits=np.zeros((196, 200), np.int32))
    results['img'][pixel(K)] = 255
    results['label_bits'][row_and_column()] = 1
    return results


def pixel(matrix: np.ndarray, x: float = 0.5, y: float = 1.5, z: float = 10.0) -> tuple[int, int]:
    u, v, w = matrix @ (x, y, z)
    return round(v / w), round(u / w)


def row_and_column(x: float = 0.5, z: float = 10.0) -> tuple[int, int]:
    return int((z - 1) / 0.25), int((x + 25) / 0.25)


def test_a_crop_moves_the_camera_matrix_with_the_image():
    results = CropRows(start=0.25, stop=0.9).transform(sample())
    assert results['img'].shape == (26, 24, 3)
    assert results['img_shape'] == (26, 24)
    assert np.argwhere(results['img'][..., 0]).tolist() == [list(pixel(results['intrinsics']))]
    assert K[1, 2] == 20  # the data set's own matrix is left alone


def test_a_mirrored_sample_shows_a_mirrored_world():
    results = RandomMirror(prob=1.0).transform(sample() | dict(rng=np.random.default_rng(0)))
    # What was 0.5 m to the right is 0.5 m to the left, in the image and on the ground.
    assert np.argwhere(results['img'][..., 0]).tolist() == [list(pixel(results['intrinsics'], x=-0.5))]
    row, column = row_and_column()
    assert np.argwhere(results['label_bits']).tolist() == [[row, 199 - column]]


def test_half_of_the_samples_are_mirrored():
    rng = np.random.default_rng(0)
    mirrored = [RandomMirror().transform(sample() | dict(rng=rng))['intrinsics'][0, 2] != K[0, 2] for _ in range(200)]
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize(
    ('transform', 'options', 'message'),
    [
        (CropRows, dict(start=0.9, stop=0.2), r'0 <= start < stop <= 1, got 0\.9 and 0\.2'),
        (CropRows, dict(stop=1.5), r'0 <= start < stop <= 1, got 0\.0 and 1\.5'),
        (RandomMirror, dict(prob=2), 'prob must be between 0 and 1, got 2'),
    ],
)
def test_impossible_settings_are_refused(transform: type[BaseTransform], options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        transform(**options)
