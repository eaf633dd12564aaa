"""Pictures of clips by a visualizer that takes a video, as MMAction2's does."""

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from mmopt.apis.pictures.painter import MAX_FRAMES, find_painter
from mmopt.utils.errors import UserError


class Clips:
    """A data set that cannot draw."""

    metainfo = dict(classes=('walk', 'run'))

    def __len__(self):
        return 1


class ClipVisualizer(Visualizer):
    """Notes what it is given, in MMAction2's words."""

    texts: list[str]

    def add_datasample(self, name, video, data_sample=None, draw_gt=True, draw_pred=True, out_type='img', step=0):
        classes = self.dataset_meta['classes']
        self.texts = []
        if draw_gt and 'gt_labels' in data_sample:
            self.texts += [classes[index] for index in data_sample.gt_label.tolist()]
        if draw_pred and 'pred_labels' in data_sample:
            found = data_sample.pred_labels
            self.texts += [f'{classes[index]} {found.score[index].item():.2f}' for index in found.item.tolist()]
        for backend in self._vis_backends.values():
            backend.add_video(name, np.array(video), step=step, fps=4, out_type=out_type)


@pytest.fixture
def painter():
    found = find_painter(Clips(), dict(visualizer=dict(type=ClipVisualizer), model=dict(type='Recognizer')))
    assert found is not None
    return found


@pytest.fixture
def sample():
    label = dict(gt_label=torch.tensor(1), pred_label=torch.tensor([0]), pred_score=torch.tensor([0.75, 0.25]))
    return BaseDataElement(**label)


def clip(*shape: int) -> torch.Tensor:
    """Return frames whose number is their brightness."""
    frames = torch.arange(shape[0] * (shape[2] if len(shape) == 5 else 1), dtype=torch.uint8)
    if len(shape) == 4:
        return frames.view(-1, 1, 1, 1).expand(shape)
    return frames.view(shape[0], 1, shape[2], 1, 1).expand(shape)


@pytest.mark.parametrize('shape', [(3, 3, 10, 12), (1, 3, 3, 10, 12), (3, 1, 10, 12)])
def test_frames_lie_side_by_side(painter, sample, shape):
    picture = painter.draw_prediction(0, sample, clip(*shape))
    assert picture.shape == (10, 36, 3)
    assert picture[0, ::12, 0].tolist() == [0, 1, 2]


def test_a_long_clip_is_shown_by_frames_spread_over_it(painter, sample):
    picture = painter.draw_prediction(0, sample, clip(2, 3, 16, 4, 4))
    assert picture[0, ::4, 0].tolist() == list(range(0, 32, 32 // MAX_FRAMES))


def test_a_prediction_is_drawn_and_labels_alone_without_one(painter, sample):
    painter.draw_prediction(0, sample, clip(3, 3, 4, 4))
    assert painter.visualizer.texts == ['run', 'walk 0.75']
    painter.draw(0, sample, clip(3, 3, 4, 4))
    assert painter.visualizer.texts == ['run']
    assert 'pred_labels' not in sample  # the caller's sample stays as it is


@pytest.mark.parametrize('inputs', [torch.zeros(2, 17, 8, 4, 4), torch.zeros(3, 4, 4), [torch.zeros(3, 4, 4)]])
def test_what_is_no_clip_is_refused_with_its_shape(painter, sample, inputs):
    with pytest.raises(UserError, match='no frames in color or gray that ClipVisualizer can draw on'):
        painter.draw_prediction(0, sample, inputs)
