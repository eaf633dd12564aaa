"""Small videos whose frames show their own number, and recordings made of them."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

BITS = 12
CELL = 8
SIZE = (24, BITS * CELL)


def picture(number: int, tint: int = 0) -> np.ndarray:
    """Black and white cells that spell a number in binary; a tint tells views apart."""
    bits = (number >> np.arange(BITS)) & 1
    row = np.repeat(np.where(bits == 1, 235, 20), CELL).astype(np.uint8)
    image = np.repeat(np.tile(row, (SIZE[0], 1))[..., None], 3, axis=2)
    image[16:] = 40 * tint
    return image


def number_of(image: np.ndarray) -> int:
    """Read the number back; lossy coding does not matter."""
    cells = image[:14].mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return int(((cells > 128) << np.arange(BITS)).sum())


def write_video(path: Path, num_frames: int, rate: Fraction = Fraction(30), codec='libx264', gop=12, tint=0) -> Path:
    import av  # here, so that the tests of other folders can be collected without it

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = SIZE
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = 2
        stream.codec_context.thread_count = 1
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, tint), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_labels(path: Path, segments: list[tuple[int, int, str]], offset: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [
        dict(timelinelabels=[name], ranges=[dict(start=start + offset, end=stop + offset)])
        for start, stop, name in segments
    ]
    path.write_text(json.dumps(dict(annotations=[dict(videoLabels=labels)])), encoding='utf-8')


SEGMENTS = [(0, 20, 'front'), (20, 45, 'left'), (45, 50, 'up'), (60, 90, 'right_down'), (90, 100, 'front')]


@pytest.fixture(scope='session')
def root(tmp_path_factory) -> Path:
    """Two persons; views of 30 fps, of 30 fps with another tint, and of 15 fps; keypoints that say their frame."""
    root = tmp_path_factory.mktemp('driver')
    for person in ('person_01', 'person_02'):
        folder = root / 'videos_split' / person / 'day_high'
        for tint, (view, count, rate) in enumerate([('front', 100, 30), ('left', 100, 30), ('right', 50, 15)]):
            write_video(folder / f'{view}.mp4', count, Fraction(rate), tint=tint)
        write_labels(root / 'label' / f'{person}_day_high.json', SEGMENTS)
        points = root / 'keypoints' / person / 'day_high'
        points.mkdir(parents=True)
        for frame in range(100):
            np.savez(points / f'{frame:06d}.npz', keypoints=np.full((52, 3), frame, np.float32))
    return root
