import json
from pathlib import Path

import cv2
import pytest

from mmopt.apis.logs.curves import choose_keys, plot_curves, table
from mmopt.apis.logs.read import RunLog, read_run
from mmopt.utils.errors import UserError


def write_session(work_dir: Path, stamp: str, lines: list[dict]) -> None:
    folder = work_dir / stamp / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def train_line(step: int, loss: float) -> dict:
    return dict(lr=1e-3, loss=loss, time=0.1, data_time=0.01, mem_host_gib=1.5, iter=step, epoch=1, step=step)


@pytest.fixture
def resumed(tmp_path) -> Path:
    """A run that was killed after iteration 30 and went on from the checkpoint of iteration 20."""
    work_dir = tmp_path / 'run'
    first = [train_line(10, 3.0), train_line(20, 2.0), dict(mIoU=0.1, time=0.2, step=20), train_line(30, 99.0)]
    second = [train_line(30, 1.5), train_line(40, 1.0), dict(mIoU=0.3, step=40)]
    write_session(work_dir, '20260101_000000', first)
    write_session(work_dir, '20260102_000000', second)
    return work_dir


def test_a_resumed_run_is_one_curve(resumed):
    log = read_run(resumed)
    assert log.train['loss'] == [(10, 3.0), (20, 2.0), (30, 1.5), (40, 1.0)]
    assert log.val['mIoU'] == [(20, 0.1), (40, 0.3)]
    assert log.name == 'run'


def test_the_time_of_an_evaluation_is_not_that_of_an_iteration(resumed):
    assert [value for _, value in read_run(resumed).train['time']] == [0.1] * 4


def test_evaluations_numbered_by_epoch_follow_what_was_trained(tmp_path):
    write_session(
        tmp_path, 'a', [train_line(100, 1.0), dict(mAP=0.5, step=1), train_line(200, 0.5), dict(mAP=0.6, step=2)]
    )
    assert read_run(tmp_path).val['mAP'] == [(100, 0.5), (200, 0.6)]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text(json.dumps(train_line(10, 1.0)) + '\n{"loss": 0.')
    assert read_run(path).train['loss'] == [(10, 1.0)]


@pytest.mark.parametrize(('metric', 'expected'), [('mIoU', (2, 0.0)), ('val_loss', (3, -1.0))])
def test_the_best_point_follows_the_metrics_name(metric, expected):
    log = RunLog('x', val={metric: [(1, float('nan')), (2, 0.0), (3, -1.0), (4, 0.0)]})
    assert log.best(metric) == expected


def test_a_rule_wins_over_the_name():
    assert RunLog('x', val={'rank': [(1, 2.0), (2, 1.0)]}).best('rank', 'less') == (2, 1.0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [(None, 'does not exist; give a work dir'), ('hello\n{}\n', 'scalars.json:1: not a line')],
)
def test_what_is_no_log_is_named(tmp_path, text, message):
    path = tmp_path / 'scalars.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_run(path)


def test_an_empty_work_dir_says_what_it_lacks(tmp_path):
    with pytest.raises(UserError, match='holds no <timestamp>/vis_data/scalars.json'):
        read_run(tmp_path)


def test_default_panels_are_what_the_run_has(resumed):
    log = read_run(resumed)
    assert choose_keys([log]) == ['loss', 'lr', 'mIoU', 'mem_host_gib', 'time']
    del log.val['mIoU']
    assert choose_keys([log]) == ['loss', 'lr', 'mem_host_gib', 'time']


def test_a_key_nobody_logged_names_the_nearest(resumed):
    with pytest.raises(UserError, match='--keys miou2: no run logged it; did you mean mIoU'):
        choose_keys([read_run(resumed)], ['loss', 'miou2'])


def test_the_table_gives_end_values(resumed):
    head, body = table([read_run(resumed)], ['loss', 'mIoU', 'time', 'mem_host_gib', 'none']).splitlines()
    assert head.split() == ['run', 'iterations', 'loss', 'mIoU', 'time', 'mem_host_gib', 'none']
    assert body.split('  ')[0] == 'run'
    for text in ('40', '1 (best 1 at 40)', '0.3 (best 0.3 at 40)', '0.1 median', '1.5 peak', '-'):
        assert text in body


def test_curves_of_several_runs_are_one_picture(resumed, tmp_path):
    logs = [read_run(resumed), RunLog('other', train={'loss': [(10, 5.0), (20, 4.0)]})]
    path = plot_curves(logs, choose_keys(logs), tmp_path / 'new' / 'curves.png', title='two runs')
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 1200
    # Both runs' colors (blue #0072B2 and vermilion #D55E00, here as BGR) are in it.
    for color in ((0xB2, 0x72, 0x00), (0x00, 0x5E, 0xD5)):
        assert (picture == color).all(-1).sum() > 100


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match='nothing to draw'):
        plot_curves([RunLog('x')], [], tmp_path / 'x.png')
