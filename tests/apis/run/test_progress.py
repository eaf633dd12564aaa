import logging
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

from mmopt.apis.pictures.save import can_draw, save_pictures, spread
from mmopt.apis.run import progress
from mmopt.utils.errors import UserError


def test_the_end_is_projected_once_from_measured_iterations(monkeypatch, caplog):
    clock = iter([100.0, 114.0])  # after the warm-up, and 7 iterations of 2 s later
    monkeypatch.setattr(progress.time, 'perf_counter', lambda: next(clock))
    runner = SimpleNamespace(max_iters=100, logger=logging.getLogger('projected'))
    hook = progress.ProjectedEnd(warmup=3, measured=7)
    with caplog.at_level(logging.INFO):
        for runner.iter in range(20):
            hook.after_train_iter(runner, runner.iter)
    (record,) = caplog.records
    assert record.message.startswith('2 s per iteration: 3 min 00 s to go, until about ')


class Drawn(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [dict(value=index) for index in range(4)]

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=index, data_samples=index)

    def draw(self, sample, image) -> np.ndarray:
        assert sample.value == image
        return np.full((4, 4, 3), image, np.uint8)


class Model:
    training = True

    def eval(self) -> None:
        self.training = False

    def train(self, mode: bool) -> None:
        self.training = mode

    def val_step(self, batch):
        assert not self.training
        sample = SimpleNamespace(value=batch[0]['inputs'])
        sample.cpu = lambda: sample
        return [sample]


def test_pictures_are_spread_over_the_data_set():
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(2, 4) == [0, 1]


@pytest.mark.parametrize(
    'wrap', [lambda drawn: drawn, lambda drawn: RepeatDataset(drawn, 2), lambda drawn: ConcatDataset([drawn, Drawn()])]
)
def test_the_data_set_inside_a_wrapper_draws(wrap, tmp_path):
    model = Model()
    dataset = wrap(Drawn())
    assert can_draw(dataset)
    paths = save_pictures(SimpleNamespace(model=model), dataset, lambda samples: samples, tmp_path / 'p', 2)
    assert [path.name for path in paths] == ['000000.jpg', f'{len(dataset) // 2:06d}.jpg']
    assert model.training


def test_a_data_set_that_cannot_draw_is_named(tmp_path):
    with pytest.raises(UserError, match='list has no method draw'):
        save_pictures(SimpleNamespace(model=Model()), [1], list, tmp_path, 1)
