import json
from pathlib import Path

import cv2
import pytest

from mmopt.apis.logs.time import Bottleneck, plot_time, read_time
from mmopt.engine.logging.time_split import PARTS

SETTINGS = dict(
    device='GPU', precision='bf16', native_half='bf16', batch_size=4, num_workers=4, num_cores=16,
    pin_memory=True, cache=None, unit='iter', val_interval=500, log_interval=50, checkpoint_interval=1000,
)  # fmt: skip


def run(num_evaluations: int = 4, settings: dict | None = None, **seconds: float) -> Bottleneck:
    return Bottleneck(
        'run', dict.fromkeys(PARTS, 0.0) | seconds, 1000, num_evaluations, {**SETTINGS, **(settings or {})}
    )


def test_the_largest_part_comes_first_and_shares_add_up():
    assert run(data=30, compute=60, evaluation=10).split == '1 min 40 s: compute 60.0%, data 30.0%, evaluation 10.0%'


@pytest.mark.parametrize(
    ('settings', 'option'),
    [
        (dict(num_workers=0), "--options data.workers_per_gpu='auto': the loop loads itself"),
        (dict(), "--options data.cache='disk': 4 workers on 16 cores, no cache"),
        (dict(cache='disk'), "--options data.workers_per_gpu='auto': 4 workers on 16 cores"),
        (dict(cache='disk', num_workers=15), 'cheaper transforms'),
    ],
)
def test_a_late_loader_is_mended_by_what_is_there_already_first(settings, option):
    verdict = run(settings=settings, data=50, compute=50).verdict
    assert verdict.startswith(option)
    assert 'waited 50 s for data' in verdict
    assert verdict.endswith('expected gain: up to 50% of the time, 2.00x')


@pytest.mark.parametrize(
    ('seconds', 'option', 'gain'),
    [
        (dict(compute=60, evaluation=40), 'evaluation.interval=1000', 0.2),
        (dict(compute=60, checkpoints=40), 'checkpoint_config.interval=2000', 0.2),
        (dict(compute=60, hooks=40), 'log_config.interval=100', 0.2),
        (dict(compute=60, copy=40), "data.workers_per_gpu='auto'", 0.4),
        # The larger gain goes first, not the larger part: half the evaluations save less than the whole wait.
        (dict(compute=40, evaluation=35, data=25), 'data.cache', 0.25),
    ],
)
def test_each_part_has_its_remedy_and_the_largest_gain_goes_first(seconds, option, gain):
    advice = run(**seconds).advice
    assert option in advice.what
    assert advice.gain == pytest.approx(gain)


def test_half_precision_is_expected_to_halve_the_computing_on_a_gpu_alone():
    assert run(settings=dict(precision='fp32'), compute=90, data=10).advice.what == '--precision bf16'
    assert (
        run(settings=dict(precision='fp32', native_half='fp16'), compute=90, data=10).advice.what == '--precision fp16'
    )
    assert run(settings=dict(precision='fp32', native_half=None), compute=90, data=10).advice.gain == pytest.approx(0.1)
    assert run(settings=dict(precision='fp32', device='CPU'), compute=90, data=10).advice.gain == pytest.approx(0.1)


def test_a_run_that_only_computes_is_told_so():
    quiet = run(compute=98, data=1, evaluation=1)
    assert quiet.advice is None
    assert 'only a faster step (tools/benchmark.py' in quiet.verdict
    assert run().split.startswith('0 s')


def write(folder: Path, stamp: str, **state) -> None:
    folder = folder / stamp
    (folder / 'vis_data').mkdir(parents=True)
    whole = dict(first_iter=0, last_iter=10, num_evaluations=1, settings=SETTINGS)
    (folder / 'time_split.json').write_text(json.dumps(whole | state))


def test_the_sessions_of_a_resumed_run_add_up(tmp_path):
    seconds = dict.fromkeys(PARTS, 1.0)
    write(tmp_path / 'x', 'a', seconds=seconds)
    write(tmp_path / 'x', 'b', seconds=seconds | dict(data=5.0), first_iter=10, last_iter=30)
    found = read_time(tmp_path / 'x')
    assert (found.name, found.seconds['data'], found.num_iters, found.num_evaluations) == ('x', 6.0, 30, 2)
    assert read_time(tmp_path / 'x' / 'a').seconds['data'] == 1.0
    assert read_time(tmp_path / 'x' / 'a' / 'vis_data' / 'scalars.json') is None
    (tmp_path / 'x' / 'a' / 'vis_data' / 'scalars.json').touch()
    assert read_time(tmp_path / 'x' / 'a' / 'vis_data' / 'scalars.json').seconds['data'] == 1.0


def test_a_run_that_noted_nothing_has_no_report(tmp_path):
    assert read_time(tmp_path) is None


def test_the_picture_has_a_bar_per_run_in_the_colors_of_its_parts(tmp_path):
    path = plot_time([run(compute=50, data=50), run(compute=100)], tmp_path / 'new' / 'time.png')
    picture = cv2.imread(str(path))
    compute, data = ((picture == color).all(-1) for color in ((0x73, 0x9E, 0x00), (0x00, 0x5E, 0xD5)))
    rows = compute.any(1)
    starts = (rows[1:] & ~rows[:-1]).sum()
    assert starts >= 2
    # Half of one bar of two.
    assert 0.25 < data.sum() / compute.sum() < 0.45
