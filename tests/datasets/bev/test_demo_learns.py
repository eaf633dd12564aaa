"""The demo on a smaller scale: what it learns in a minute is not in the map of frequencies."""

from mmopt.apis import load_config, train
from mmopt.datasets.bev.demo import make_demo
from tests.conftest import REPO

SMALLER = [
    'data.workers_per_gpu=0',
    'model.head.channels=(16,8)',
    'runner.max_iters=200',
    'checkpoint_config.interval=200',
    'evaluation.interval=200',
]


def test_a_minute_of_the_demo_beats_the_prediction_without_the_image(tmp_path):
    made = make_demo(tmp_path / 'data', num_train=32, num_val=16, image_size=(225, 400), say=lambda line: None)
    options = [f'data.data_root={made.out}', *SMALLER, 'expect.margin=0.015']
    config = load_config(REPO / 'configs/demo/lss_swin_nuscenes.py', options=options, work_dir=str(tmp_path / 'run'))
    summary = train(config, num_pictures=0)
    (expected,) = summary.expectations
    assert expected.source.startswith('bev_image_blind')
    assert expected.holds, expected
