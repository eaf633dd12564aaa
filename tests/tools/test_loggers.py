"""What a run tells the loggers of its config, read back from what they wrote."""

import json
from pathlib import Path

import cv2
import numpy as np
from mmengine.visualization.vis_backend import BaseVisBackend
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmopt.registry import VISBACKENDS

SHORT = ['--options', 'train_cfg.max_iters=2']
TENSORBOARD = dict(type='TensorboardVisBackend')


@VISBACKENDS.register_module()
class ServiceAway(BaseVisBackend):
    """A logger that takes everything but pictures."""

    experiment = None

    def _init_env(self):
        pass

    def add_image(self, *args, **kwargs):
        raise ConnectionError('service is away')


def visualizer(*backends: dict) -> dict:
    return dict(type='Visualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend'), *backends])


def events(work_dir: str) -> EventAccumulator:
    (folder,) = {path.parent for path in Path(work_dir).glob('*/vis_data/events.out.tfevents.*')}
    found = EventAccumulator(str(folder), size_guidance=dict(images=0, scalars=0))
    found.Reload()
    return found


def test_tensorboard_shows_the_pictures_of_the_work_dir_at_the_last_iteration(tool, write_config):
    config = write_config(visualizer=visualizer(TENSORBOARD))
    assert tool('train').main([str(config), '--work-dir', 'runs/x', *SHORT]) == 0
    files = {f'pictures/{path.stem}': path for path in Path('runs/x/pictures').glob('*.jpg')}
    found = events('runs/x')
    assert len(files) == 4
    assert set(found.Tags()['images']) == set(files)
    assert 'loss' in found.Tags()['scalars']
    for tag, path in files.items():
        (image,) = found.Images(tag)
        assert image.step == 2
        shown = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(shown, cv2.imread(str(path)))
    assert not list(Path('runs/x').glob('*/vis_data/vis_image'))  # no second copy in another folder


def test_a_logger_that_refuses_pictures_ends_no_run_and_keeps_them_from_no_other(tool, write_config):
    config = write_config(visualizer=visualizer(dict(type='ServiceAway'), TENSORBOARD))
    assert tool('train').main([str(config), '--work-dir', 'runs/x', *SHORT]) == 0
    (line,) = [line for line in Path('runs/x/latest.log').read_text().splitlines() if 'ServiceAway left out' in line]
    assert 'WARNING - pictures of ServiceAway left out: ' in line
    assert line.endswith('ConnectionError: service is away')
    assert len(events('runs/x').Tags()['images']) == 4
    assert json.loads(Path('runs/x/summary.json').read_text())['places']['pictures'] == 'runs/x/pictures'
