"""Boxes of a letterboxed image, back in pixels of the file."""

import numpy as np

from mmopt.datasets.detection import Letterbox
from mmopt.ops.letterbox import to_file_pixels


def test_a_box_comes_back_from_the_canvas():
    """A file of 200x100 (width x height) on a canvas of 64x64: scaled by 0.32, with 16 gray rows above."""
    box = np.array([[50.0, 25.0, 150.0, 75.0]], np.float32)
    results = Letterbox(64)(dict(img=np.zeros((100, 200, 3), np.uint8), boxes=box, labels=np.zeros(1, np.int64)))
    assert results['letterbox'] == (0.32, 0.32, 0, 16)
    assert np.allclose(results['boxes'], [[16, 24, 48, 40]])
    assert np.allclose(to_file_pixels(results['boxes'], results['letterbox'], (100, 200)), box, atol=1e-5)


def test_boxes_end_at_the_edge_of_the_file():
    boxes = to_file_pixels(np.array([[-3, 0, 70, 64]]), (0.32, 0.32, 0, 16), (100, 200))
    assert boxes.tolist() == [[0, 0, 200, 100]]
    assert to_file_pixels(np.zeros((0, 4)), (1, 1, 0, 0), (5, 5)).shape == (0, 4)
