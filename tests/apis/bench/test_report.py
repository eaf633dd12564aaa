"""Rounds, comparison and report, on trials made up by hand."""

import json
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmopt.apis.bench import command
from mmopt.apis.bench.bottlenecks import find_bottleneck
from mmopt.apis.bench.report import make_rows, make_sums, write_report
from mmopt.apis.bench.rounds import SettingResult, benchmark, loss_difference
from mmopt.apis.bench.schedule import count_schedule, project_hours
from mmopt.apis.bench.settings import Setting, TrialPlan, make_settings
from mmopt.apis.bench.tables import Sum, load_table, table_names
from mmopt.engine.bench import PARTS
from mmopt.utils.errors import UserError
from tests.conftest import REPO
from tests.engine.toy import toy_config


def trial(step_s: float, batch: int = 4, losses=(2.0, 1.0), gib: float = 1.0, **more) -> dict:
    return (
        dict(
            iter_s=[step_s] * 3,
            parts_s=dict.fromkeys(PARTS, 0.0) | dict(data=step_s / 4, forward=step_s / 2, other=step_s / 4),
            batch_size=batch,
            accumulation=1,
            losses=list(losses),
            peak_gib=dict(host=gib),
            flops=100,
            matmul_flop_per_s=1e3,
            mfu=0.1 / step_s,
            val_batch_s=0.5,
            save_s=2.0,
            machine=dict(cpu='a CPU'),
            schedule=dict(num_train=24, num_val=6),
        )
        | more
    )


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.setattr(Setting, 'load', lambda self: Config(toy_config(tmp_path)))
    claimed = dict(speed=(1.5, 2.5), memory_ratio=(0.4, 0.5))
    return [Setting('slow', 'x.py'), Setting('fast', 'x.py', ('a=1',), claimed=claimed)]


def run_by_plan(plan):
    asked = []

    def run(setting, _, folder, repeat, *, again):
        asked.append((setting.name, repeat))
        return plan[setting.name][repeat]

    run.asked = asked
    return run


def test_every_round_measures_every_setting_there_and_back(pair, tmp_path):
    run = run_by_plan(dict(slow=[trial(1.0)] * 3, fast=[trial(0.5)] * 3))
    benchmark(pair, TrialPlan(), tmp_path, rounds=3, run=run)
    assert run.asked == [('slow', 0), ('fast', 0), ('fast', 1), ('slow', 1), ('slow', 2), ('fast', 2)]


def test_speed_is_a_ratio_within_a_round(pair, tmp_path):
    # The machine is three times slower in the second round: the ratio stays.
    plan = dict(slow=[trial(1.0), trial(3.0), trial(1.2)], fast=[trial(0.5), trial(1.5), trial(0.5)])
    slow, fast = benchmark(pair, TrialPlan(), tmp_path, rounds=3, run=run_by_plan(plan))
    speed = fast.speed_over(slow)
    assert (speed.median, speed.low, speed.high) == pytest.approx((2.0, 2.0, 2.4))


def test_a_failed_setting_is_left_out_of_later_rounds_and_named(pair, tmp_path):
    failed = dict(failed='out of memory', message='tried 2 GiB')
    run = run_by_plan(dict(slow=[trial(1.0)] * 2, fast=[failed]))
    results = benchmark(pair, TrialPlan(), tmp_path, rounds=2, run=run)
    assert run.asked.count(('fast', 1)) == 0
    text = write_report(make_rows(results), dict(cpu='a CPU'), tmp_path / 'report', 'Two settings')
    assert 'fast: out of memory: tried 2 GiB' in text


def test_losses_compare_on_equal_steps_only(pair, tmp_path):
    plan = dict(slow=[trial(1.0, losses=(2.0, 2.0))], fast=[trial(1.0, losses=(2.0, 2.2))])
    slow, fast = benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(plan))
    assert loss_difference(fast.trials[0], slow.trials[0]) == pytest.approx(0.05)
    fast.trials[0]['batch_size'] = 8
    assert loss_difference(fast.trials[0], slow.trials[0]) is None


def test_accumulated_losses_compare_step_by_step():
    whole, halves = trial(1.0, batch=8, losses=(2.0, 1.0)), trial(1.0, losses=(1.9, 2.1, 0.5, 1.5), accumulation=2)
    assert loss_difference(halves, whole) == pytest.approx(0.0)


def test_a_report_has_claims_beside_figures_and_a_picture(pair, tmp_path):
    plan = dict(slow=[trial(1.0, gib=2.0)], fast=[trial(0.5, gib=1.2)])
    rows = make_rows(benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(plan)))
    text = write_report(rows, dict(cpu='a CPU'), tmp_path / 'new' / 'report', 'Two settings')
    assert '| fast | 1.50x - 2.50x | **2.00x** | 0.40x - 0.50x | 0.60x, not as claimed |' in text
    assert '| fast | 500 | 125 |' in text
    saved = json.loads((tmp_path / 'new' / 'report.json').read_text())
    assert saved['rows'][1]['speed']['median'] == 2.0
    assert cv2.imread(str(tmp_path / 'new' / 'report.png')).shape[1] > 1000
    assert (tmp_path / 'new' / 'report.md').read_text().endswith('(report.png)\n')


def settings(**changes) -> dict:
    return dict(device='CPU', precision='float32', num_workers=0, num_cores=4, cache=None, val_interval=4) | changes


def test_a_report_says_what_to_change_before_and_after(pair, tmp_path):
    """Before, of 1 s a quarter is a wait for data; the fastest setting waits for nothing."""
    busy = dict.fromkeys(PARTS, 0.0) | dict(forward=0.5)
    plan = dict(slow=[trial(1.0, settings=settings())], fast=[trial(0.5, settings=settings(), parts_s=busy)])
    for parts in plan.values():  # 8 iterations and no evaluation
        parts[0] |= dict(val_batch_s=0.0, save_s=0.0, schedule=dict(num_train=24, num_val=6, iters=8, evaluations=2))
    rows = make_rows(benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(plan)))
    text = write_report(rows, dict(cpu='a CPU'), tmp_path / 'report', 'Two settings')
    assert '- Before (slow): 8 s: compute 50.0%, data 25.0%, logging and hooks 25.0%. Change first: --options' in text
    assert '- After (fast): 4 s: compute 100.0%. Change first: nothing around the computation' in text
    assert "| slow | 25% | 0% | 50% | 25% | 0% | 0% | --options data.workers_per_gpu='auto' |" in text
    assert '| fast | 0% | 0% | 100% | 0% | 0% | 0% | a faster step |' in text


@pytest.mark.parametrize(('device', 'waits'), [('CPU', 0.0), ('GPU', 0.4)])
def test_what_prepares_a_batch_is_a_copy_to_a_gpu_or_computed_where_there_is_none(device, waits):
    parts = dict.fromkeys(PARTS, 0.0) | dict(copy=0.4, forward=0.6)
    row = dict(name='x', hours={}, step_s=dict(median=1.0), parts_s=parts)
    schedule = dict(iters=1, evaluations=1)
    found = find_bottleneck(row, dict(settings=settings(device=device), schedule=schedule))
    assert found['seconds']['copy'] == pytest.approx(waits)
    assert found['seconds']['compute'] == pytest.approx(1.0 - waits)


def test_a_first_setting_that_is_the_fastest_stands_there_once(pair, tmp_path):
    plan = dict(slow=[trial(0.5, settings=settings())], fast=[trial(1.0, settings=settings())])
    for parts in plan.values():
        parts[0] |= dict(schedule=dict(num_train=24, num_val=6, iters=8, evaluations=2))
    rows = make_rows(benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(plan)))
    text = write_report(rows, dict(cpu='a CPU'), tmp_path / 'report', 'Two settings')
    assert '- The fastest (slow): ' in text
    assert 'Before' not in text


def test_a_report_says_that_the_speed_of_an_emulated_precision_means_nothing(pair, tmp_path):
    plan = dict(slow=[trial(1.0)], fast=[trial(0.5, emulates='fp16')])
    rows = make_rows(benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(plan)))
    text = write_report(rows, dict(cpu='a CPU'), tmp_path / 'report', 'Two settings')
    assert 'says nothing about a device that does not: fast (fp16).' in text


def test_rows_for_a_gpu_are_named_and_left_out_where_there_is_none(pair, tmp_path, monkeypatch, capsys):
    asked = []

    def run(chosen, *_, **__):
        asked.append([setting.name for setting in chosen])
        return [SettingResult(setting, [trial(1.0)]) for setting in chosen]

    monkeypatch.setattr(command, 'benchmark', run)
    pair.append(Setting('pinned', 'x.py', needs_gpu='there is nothing to copy to'))
    for count in (0, 1):
        monkeypatch.setattr('torch.cuda.device_count', lambda count=count: count)
        assert command.compare(pair, TrialPlan(), tmp_path, out=tmp_path / 'report', title='Three') == 0
    assert asked == [['slow', 'fast'], ['slow', 'fast', 'pinned']]
    assert capsys.readouterr().out.count('Not without a GPU: pinned: there is nothing to copy to.') == 1


def test_a_metric_lost_is_a_share_of_the_baselines(pair, tmp_path):
    plan = dict(slow=[trial(1.0)], fast=[trial(1.0)])
    slow, fast = benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(plan))
    for result, value in ((slow, 0.5), (fast, 0.49)):
        result.metrics = [dict(main_metric='mIoU', metrics=dict(mIoU=value))]
    assert make_rows([slow, fast])[1]['metric_loss'] == pytest.approx(0.02)
    for result in (slow, fast):  # of an error, more is worse
        result.metrics = [dict(main_metric='error', metrics=dict(error=result.metrics[0]['metrics']['mIoU']))]
    assert make_rows([slow, fast])[1]['metric_loss'] == pytest.approx(-0.02)


def test_the_hours_of_a_schedule_are_counted_by_hand(tmp_path):
    cfg = toy_config(tmp_path, max_iters=10)  # evaluates at 4, 8 and the end, saves at 2, 4, ..., 10
    hours = project_hours(trial(36.0), cfg)
    assert hours == pytest.approx(dict(train=0.1, evaluate=3 * 2 * 0.5 / 3600, save=5 * 2 / 3600, total=hours['total']))
    assert project_hours(trial(36.0), cfg, validate=False)['evaluate'] == 0
    # Epochs grow with the data set: 2 epochs of ceil(4001 / 4) iterations.
    by_epoch = toy_config(tmp_path, by_epoch=True, train_cfg=dict(val_interval=5))
    assert count_schedule(by_epoch, 4001, 0)['iters'] == 2002
    assert project_hours(trial(36.0), by_epoch, num_train=4001)['train'] == pytest.approx(20.02)


def test_a_trial_of_one_phase_says_nothing_of_the_hours_of_two(tmp_path):
    cfg = toy_config(tmp_path, by_epoch=True)
    assert project_hours(trial(1.0), cfg)
    cfg['train_cfg']['phases'] = [dict(until_epoch=1, batch_size=2), dict(until_epoch=2)]
    assert project_hours(trial(1.0), cfg) == {}


def test_phases_of_one_training_add_up(pair, tmp_path):
    rows = make_rows(
        benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run_by_plan(dict(slow=[trial(36.0)], fast=[trial(18.0)])))
    )
    sums = [
        Sum('both', ('slow', 'fast'), validate=True, claimed=dict(hours=(0.1, 0.2))),
        Sum('fast twice, not evaluated', ('fast', 'fast'), validate=False, claimed=dict(schedule_speed=(1.2, 1.2))),
    ]
    both, twice = make_sums(rows, sums)
    assert both['hours']['total'] == pytest.approx(sum(row['hours']['total'] for row in rows))
    assert twice['hours']['evaluate'] == 0
    text = write_report([*rows, both, twice], dict(cpu='a CPU'), tmp_path / 'report', 'Phases')
    assert '| both | - | - |' in text
    assert '| fast twice, not evaluated |' in text
    assert f'1.20x | **{both["hours"]["total"] / twice["hours"]["total"]:.2f}x** |' in text


def test_cells_cross_configs_variants_and_precisions():
    crossed = make_settings(['c/one.py', 'c/two.py'], dict(a=['x=1'], b=['x=2']), ['fp32', 'bf16'], ['y=3'])
    assert len(crossed) == 8
    assert crossed[0] == Setting('one, a, fp32', 'c/one.py', ('y=3', 'x=1'), 'fp32')
    assert [setting.name for setting in make_settings(['c/one.py'], {})] == ['one']


def test_a_claim_about_what_nothing_measures_is_refused(tmp_path):
    path = Path(tmp_path, 'table.py')
    row = "dict(name='x', claimed=dict(sped=(1, 2)))"
    path.write_text(f"title = source = 'x'\nconfig = 'c.py'\nrows = [{row}]\n")
    with pytest.raises(UserError, match=r'claimed\.sped is not measured; did you mean speed\?'):
        load_table(path)


TABLES = REPO / 'benchmarks' / 'tables'


@pytest.mark.parametrize('name', table_names(TABLES))
def test_every_row_of_a_shipped_table_is_a_config_that_can_be_run(name):
    table = load_table(TABLES / f'{name}.py', demo=True)
    assert any(setting.claimed for setting in table.settings)
    assert len({setting.name for setting in table.settings}) == len(table.settings)
    lowered = [setting.load().to_dict() for setting in table.settings]
    assert all(cfg['train_cfg'] and cfg['optim_wrapper'] for cfg in lowered)
    # Two equal rows would be a comparison of nothing.
    unlike = {repr({key: value for key, value in cfg.items() if key != 'work_dir'}) for cfg in lowered}
    differ_in_evaluation_only = sum(not setting.validate for setting in table.settings)
    assert len(unlike) + differ_in_evaluation_only >= len(table.settings)


def test_estimates_stand_beside_the_claims_and_failures_are_named(pair, tmp_path):
    run = run_by_plan(dict(slow=[trial(1.0)], fast=[trial(0.5)]))
    rows = make_rows(benchmark(pair, TrialPlan(), tmp_path, rounds=1, run=run))
    rows[0]['estimate'] = dict(gpu_gib=4.0, relative=1.0, host_gib=5.25)
    rows[1]['estimate'] = dict(gpu_gib=1.0, relative=0.25, host_gib=3.0)
    text = write_report(rows, dict(cpu='a CPU'), tmp_path / 'report', 'Two settings')
    assert '| slow | - | 4.00 GiB | - | 1.00x | 5.2 GiB |' in text
    assert '| fast | - | 1.00 GiB | 0.40x - 0.50x | 0.25x | 3.0 GiB |' in text
    rows[1]['estimate'] = dict(failure='no model here')
    text = write_report(rows, dict(cpu='a CPU'), tmp_path / 'report', 'Two settings')
    assert '| fast | - | - | 0.40x - 0.50x | - | - |' in text
    assert '- fast, estimate: no model here' in text
