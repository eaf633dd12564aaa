import numpy as np
import pytest

from mmopt.ops.fit_anchors import anchor_recall, fit_anchors, size_iou


def test_overlap_of_lengths_and_of_boxes_by_hand():
    np.testing.assert_allclose(size_iou(np.array([[10.0]]), np.array([[20.0], [5.0]])), [[0.5, 0.5]])
    np.testing.assert_allclose(size_iou(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0]])), [[4 / 12]])


def test_recall_by_hand():
    assert anchor_recall(np.array([[10.0], [20.0], [21.0], [100.0]]), np.array([[10.0]])) == 0.5


@pytest.mark.parametrize('dims', [1, 2])
def test_separate_groups_are_found(dims):
    rng = np.random.default_rng(0)
    centers = np.array([[10.0] * dims, [60.0] * dims, [400.0] * dims])
    sizes = np.concatenate([center * rng.normal(1, 0.05, (50, dims)) for center in centers])
    np.testing.assert_allclose(fit_anchors(sizes, 3), centers, rtol=0.05)


def test_too_few_or_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match='3 anchors need as many distinct sizes, there are 1'):
        fit_anchors(np.array([[5.0], [5.0]]), 3)
    with pytest.raises(ValueError, match='sizes must be positive, the smallest is 0'):
        fit_anchors(np.array([[0.0], [5.0]]), 1)
