"""A batch that finds its size, from made-up times and memory."""

import cv2
import numpy as np
import pytest
import torch

from mmopt.apis import Predictor
from mmopt.apis.predict.batch_size import BatchSize
from mmopt.utils.errors import UserError

GIB = 1024**3


def _run(seconds_of, free_gib: float = 100.0, taken_gib_each: float = 0.0, num_batches: int = 60) -> BatchSize:
    """Predict batches that take ``seconds_of(size)`` and hold so much memory per picture."""
    peak = [1 * GIB]
    size = BatchSize(1, is_fixed=False, free_bytes=lambda: int(free_gib * GIB), peak_bytes=lambda: peak[0])
    for _ in range(num_batches):
        peak[0] = max(peak[0], int((1 + size.size * taken_gib_each) * GIB))
        size.note(size.size, seconds_of(size.size), None)
    return size


def test_the_batch_doubles_while_pictures_get_cheaper():
    assert _run(lambda size: 0.1 + 0.01 * min(size, 16) + 0.05 * max(size - 16, 0)).size == 16
    assert _run(lambda size: 0.01 * size).size == 1
    assert _run(lambda size: 1.0, num_batches=500).size == 256


def test_the_batch_grows_only_while_twice_its_memory_is_free():
    assert _run(lambda size: 1.0, free_gib=17.0, taken_gib_each=0.5).size == 16  # 8 GiB


def test_what_runs_out_of_memory_ends_the_growth():
    size = BatchSize(1, is_fixed=False)
    for _ in range(30):
        size.note(size.size, 1.0, None)
    assert size.size > 4
    size.note(size.size, 1.0, 3)
    assert size.size == 3
    for _ in range(30):
        size.note(3, 0.1, 3)
    assert size.size == 3


def test_a_batch_that_is_not_full_tells_nothing():
    size = BatchSize(4, is_fixed=False)
    for _ in range(30):
        size.note(2, 0.1, None)
    assert size.size == 4


def _arrays(detector) -> list[np.ndarray]:
    return [cv2.imread(path)[..., ::-1].copy() for path in detector.pictures]


def test_pictures_are_the_same_in_batches_that_grow(detector, monkeypatch):
    pictures = _arrays(detector) * 3
    expected = [result.to_json() for result in Predictor(detector.checkpoint, batch_size=1)(pictures)]
    predictor = Predictor(detector.checkpoint, batch_size='auto')
    assert predictor.batch_size.size == 1
    clock = iter(range(1000))  # every batch takes as long: larger ones are faster
    monkeypatch.setattr('mmopt.apis.predict.predictor.time.perf_counter', lambda: next(clock))
    found = [result.to_json() for result in predictor(pictures)]
    assert predictor.batch_size.size > 1
    for one, other in zip(found, expected, strict=True):
        assert one['scores'] == pytest.approx(other['scores'], abs=1e-5)
    with pytest.raises(UserError, match='a number of at least 1 or auto'):
        Predictor(detector.checkpoint, batch_size='many')


def test_a_batch_that_does_not_fit_is_predicted_in_parts(detector, monkeypatch):
    predictor = Predictor(detector.checkpoint, batch_size='auto')
    step = predictor._in_parts.predict
    sizes = []

    def small(batch):
        if len(batch['inputs']) > 2:
            raise torch.OutOfMemoryError('CUDA out of memory.')
        sizes.append(len(batch['inputs']))
        return step(batch)

    predictor._in_parts.predict = small
    clock = iter(range(1000))
    monkeypatch.setattr('mmopt.apis.predict.predictor.time.perf_counter', lambda: next(clock))
    assert len(list(predictor(_arrays(detector) * 4))) == 4 * len(detector.pictures)
    assert predictor.batch_size.size == max(sizes) == 2
