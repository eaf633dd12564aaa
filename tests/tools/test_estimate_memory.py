"""tools/estimate_memory.py: the table, JSON, picture and errors; and every baseline config without its data."""

import json
import os
import subprocess
import sys
import time

import pytest

from mmopt.apis.memory.estimate import estimate_memory
from mmopt.apis.memory.table import format_report, plan_memory
from mmopt.engine.memory.gpus import Budget, Gpu
from mmopt.utils.errors import UserError
from mmopt.utils.memory import GIB
from tests.conftest import REPO

BASELINES = sorted(str(path.relative_to(REPO)) for path in (REPO / 'configs' / 'baseline').glob('*.py'))
CONFIG = 'configs/baseline/tad_v7_session.py'


@pytest.fixture(scope='module')
def report():
    # A card on which some ten samples fit: large batches take seconds to trace.
    card = Budget('toy', int(0.5 * GIB), Gpu(0.5, (8, 6)))
    return estimate_memory(REPO / CONFIG, batch_sizes=[2, 4], precisions=['fp32'], budget=card, ram_bytes=16 * GIB)


def test_each_setting_is_a_row_and_the_data_is_not_needed(report):
    assert [case['batch_size'] for case in report.cases] == [2, 4]
    small, large = report.cases
    assert small['parts']['weights'] == large['parts']['weights']
    assert small['parts']['activations'] < large['parts']['activations']
    text = format_report(report)
    for part in ('weights and buffers', 'optimizer state', 'encoder.lstm', 'CUDA context', 'not calibrated'):
        assert part in text


def test_the_largest_batch_fits_and_the_next_does_not_by_much(report):
    (found,) = report.largest
    capacity = report.budget.total_bytes - report.context[1]
    assert found['batch_size'] > 4
    needed = found['case']['reserved'] * 1.1
    assert 0.8 * capacity < needed <= capacity


def test_the_report_is_json_and_says_that_it_is_not_calibrated(report):
    shown = json.loads(json.dumps(report.to_dict()))
    assert shown['is_calibrated'] is False
    assert shown['cases'][0]['card_bytes'][1] == report.cases[0]['reserved'] + report.context[1]
    assert shown['workers_that_fit'] == report.workers_that_fit


def test_the_fused_sgd_that_fp16_takes_on_a_gpu_is_estimated():
    half, whole = estimate_memory(REPO / CONFIG, batch_sizes=[2], precisions=['fp16', 'fp32'], optimizer='SGD').cases
    assert half['most']['optimizer'] == whole['most']['optimizer'] > 0


def test_a_checkpointing_budget_is_met_as_in_the_run():
    config, budget = REPO / 'configs' / 'demo' / 'yolov5_fred_rgb.py', ["optimize.checkpointing={'budget_gib': 0.05}"]
    (whole,) = estimate_memory(config, batch_sizes=[8], precisions=['fp32']).cases
    (kept,) = estimate_memory(config, options=budget, batch_sizes=[8], precisions=['fp32']).cases
    assert kept['reserved'] < 0.9 * whole['reserved']
    assert any('blocks: activations' in line for line in kept['effects'])


def test_a_dry_run_says_it_in_one_line(report):
    line = plan_memory(report)
    assert 'GiB of a GPU (' in line
    assert 'not calibrated' in line
    assert len(line.splitlines()) == 1


def test_memory_is_a_part_of_a_dry_run_only(capsys):
    from tools.train import parse_args

    assert parse_args([CONFIG, '--dry-run', '--memory']).memory
    with pytest.raises(SystemExit):
        parse_args([CONFIG, '--memory'])
    assert '--memory belongs to --dry-run' in capsys.readouterr().err


def test_the_picture_shows_every_setting(report, tmp_path):
    import cv2

    from mmopt.apis.memory.picture import draw_report

    draw_report(report, tmp_path / 'deep' / 'memory.png')
    picture = cv2.imread(str(tmp_path / 'deep' / 'memory.png'))
    assert picture.shape[1] > 800
    green = (picture == (0x73, 0x9E, 0x00)).all(-1)  # BGR of the activations' bars
    assert green.any(axis=1).sum() > 20


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, 'tools/estimate_memory.py', *arguments]
    return subprocess.run(
        command, cwd=REPO, env={**os.environ, 'PYTHONPATH': str(REPO)}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['configs/baseline/tad_v7_sesion.py'], 'Did you mean configs/baseline/tad_v7_session.py'),
        ([CONFIG, '--gpu', 'rtx3900'], 'not a known card; did you mean'),
        ([CONFIG, '--budget', '0.3GiB'], 'has no room beside the CUDA context'),
    ],
)
def test_what_is_asked_for_wrongly_is_refused_before_anything_is_traced(arguments, message, monkeypatch):
    from tools.estimate_memory import main

    monkeypatch.chdir(REPO)
    with pytest.raises(UserError, match=message):
        main(arguments)


def test_an_error_inside_the_estimating_process_is_one_line():
    done = run(CONFIG, '--options', 'model.encoder.in_channels=7')
    assert done.returncode == 2
    assert 'the model has in_channels=7' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize('path', BASELINES)
def test_every_baseline_config_is_estimated_in_20_s_of_cpu_time(path):
    started = os.times()
    wall = time.perf_counter()
    done = run(path, '--json', '-')
    assert done.returncode == 0, done.stderr[-2000:]
    ended = os.times()
    spent = ended.children_user + ended.children_system - started.children_user - started.children_system
    case = json.loads(done.stdout)['cases'][-1]  # of a config with phases: all of it is trained
    assert spent < 20, f'{spent:.1f} s of CPU time, {time.perf_counter() - wall:.1f} s in all'
    assert case['parts']['weights'] > 1e5
    assert case['parts']['activations'] > case['parts']['inputs']
    assert case['most']['gradients'] > 0
