"""Videos that say how they are to be turned are read upright."""

import numpy as np
import pytest

from mmopt.datasets.common.film.reader import VideoReader
from mmopt.utils.errors import DataError

QUARTER = 65536  # 1 as a fixed-point number


def write_turned(path, matrix) -> None:
    """Two frames of 32 x 64 pixels, dark but for the upper left quarter, with a display matrix."""
    import av

    image = np.full((32, 64, 3), 30, np.uint8)
    image[:16, :32] = 220
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=10)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = 'yuv420p'
        stream.set_display_matrix(matrix)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
        container.mux(stream.encode())


def matrix(a, b, c, d) -> list[int]:
    """Nine numbers whose shift keeps the picture where it was, as cameras write them."""
    shift_x, shift_y = (sum(length for factor, length in pair if factor < 0) for pair in (
        ((a, 64), (c, 32)), ((b, 64), (d, 32)),
    ))  # fmt: skip
    return [*(int(value * QUARTER) for value in (a, b, 0, c, d, 0, shift_x, shift_y)), 1 << 30]


def bright_corner(image: np.ndarray) -> str:
    rows, columns = np.nonzero(image.mean(axis=2) > 125)
    height, width = image.shape[:2]
    return f'{"upper" if rows.mean() < height / 2 else "lower"} {"left" if columns.mean() < width / 2 else "right"}'


@pytest.mark.parametrize(
    ('numbers', 'corner'),
    [
        ((1, 0, 0, 1), 'upper left'),
        ((-1, 0, 0, -1), 'lower right'),  # half a turn
        ((-1, 0, 0, 1), 'upper right'),  # a mirror
        ((1, 0, 0, -1), 'lower left'),
        ((0, 1, -1, 0), 'upper right'),  # a phone held upright: a quarter clockwise
        ((0, -1, 1, 0), 'lower left'),
        ((0, 1, 1, 0), 'upper left'),  # rows become columns
        ((0, -1, -1, 0), 'lower right'),
    ],
)
def test_frames_are_shown_as_the_file_says(tmp_path, numbers, corner):
    path = tmp_path / 'v.mp4'
    write_turned(path, matrix(*numbers))
    reader = VideoReader(path)
    whole = reader.read([1])[0]
    lies = numbers[0] != 0
    assert whole.shape == ((32, 64, 3) if lies else (64, 32, 3))
    assert bright_corner(whole) == corner
    assert (whole.mean(axis=2) > 125).mean() == pytest.approx(0.25, abs=0.02)
    scaled = reader.read([0, 1], (20, 12))
    assert scaled.shape == (2, 20, 12, 3)
    assert {bright_corner(image) for image in scaled} == {corner}


def test_a_turn_that_is_no_quarter_is_refused(tmp_path):
    path = tmp_path / 'askew.mp4'
    write_turned(path, matrix(0.8, 0.6, -0.6, 0.8))
    with pytest.raises(DataError, match=r'askew\.mp4: .* 37 degrees clockwise.*only multiples of 90'):
        VideoReader(path).read([0])
