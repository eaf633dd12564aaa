"""The suite for a GPU: its parent on steps made up here, its helper for CUDA's calls, and all of it as a rehearsal."""

import json
import os
import resource
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import torch

from tests.conftest import REPO, load_script

SUITE = load_script('benchmarks/gpu_suite.py')  # puts its package on the path

from gpu_suite import child, parent, plan, points, results  # noqa: E402  (the script must come first)
from gpu_suite.device import Gpu, _CheckedCuda, open_gpu  # noqa: E402

FAKE_STEPS = """
import json, os, sys, time
step = sys.argv[sys.argv.index('--step') + 1]
part = sys.argv[sys.argv.index('--part') + 1]
print('a line that is no row')
print(json.dumps(dict(step=step, part=part, threads=os.environ['OMP_NUM_THREADS'])), flush=True)
if step == 'bad':
    sys.exit('this step is broken')
if step == 'slow':
    print(json.dumps(dict(before='the end')), flush=True)
    print(json.dumps(dict(pid=os.getpid())), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Return what runs steps of which one is fine, one fails, one hangs and one no longer fits."""
    monkeypatch.setattr(
        parent,
        'STEPS',
        (
            plan.PlannedStep('good', 30, 1, 'Is it good?', ('a', 'b c'), at_once=2),
            plan.PlannedStep('bad', 30, 1, 'Is it bad?'),
            plan.PlannedStep('slow', 3, 1, 'Is it slow?'),
            plan.PlannedStep('late', 30, 10**6, 'Is there time?'),
        ),
    )
    monkeypatch.setattr(plan, 'STEPS', parent.STEPS)
    script = tmp_path / 'steps.py'
    script.write_text(FAKE_STEPS)
    scratch = tmp_path / 'scratch'
    scratch.mkdir()

    def make(*options: str) -> parent.Suite:
        args = parent.parse_args(['--out', str(tmp_path / 'out'), *options])
        return parent.Suite(args, script, scratch, parent.environment(scratch, args))

    return make


def test_steps_fail_hang_and_are_left_out_and_the_others_stay(suite, tmp_path, capsys):
    assert suite('--minutes', '1').run() == 1
    state = json.loads((tmp_path / 'out/suite.json').read_text())
    entries = {entry['name']: entry for entry in state['steps']}
    states = {name: entry['state'] for name, entry in entries.items()}
    assert states == dict(good='done', bad='failed', slow='timed out', late='left out')
    rows = sorted(entries['good']['rows'], key=lambda row: row['part'])
    assert rows == [dict(step='good', part=part, threads='4') for part in ('a', 'b c')]
    assert 'this step is broken' in entries['bad']['error']
    assert entries['slow']['rows'][1] == dict(before='the end')
    assert entries['slow']['seconds'] < 20
    with pytest.raises(ProcessLookupError):
        os.kill(entries['slow']['rows'][2]['pid'], 0)
    report = capsys.readouterr().out
    assert '## slow: timed out' in report
    with tarfile.open(tmp_path / 'out/logs.tar.gz') as archive:
        assert sorted(archive.getnames()) == ['bad.log', 'good-a.log', 'good-b_c.log', 'slow.log']


def test_a_suite_that_is_told_to_end_takes_its_steps_along_and_keeps_what_it_has(suite, tmp_path):
    runner = suite()
    script = tmp_path / 'main.py'
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(REPO / 'benchmarks')!r})
from gpu_suite import parent, plan
parent.STEPS = plan.STEPS = (plan.PlannedStep('slow', 60, 1, 'Is it slow?'),)
from pathlib import Path
sys.exit(parent.main(['--out', {str(tmp_path / 'out')!r}], script=Path({str(runner.script)!r})))
"""
    )
    report, found = tmp_path / 'out/suite.json', []
    with subprocess.Popen([sys.executable, str(script)]) as begun:
        try:
            until = time.monotonic() + 60
            while not found and time.monotonic() < until:
                time.sleep(0.1)
                steps = json.loads(report.read_text())['steps'] if report.is_file() else []
                found = [row for entry in steps for row in entry['rows'] if 'pid' in row]
        finally:
            begun.terminate()
        assert begun.wait(30) == 128 + 15
    with pytest.raises(ProcessLookupError):
        os.kill(found[0]['pid'], 0)
    assert '| the end |' in (tmp_path / 'out/suite.md').read_text()


def test_every_row_is_on_the_disk_at_once(suite, tmp_path):
    runner = suite()
    runner.results.add('good', dict(a=1))
    runner.results.add('good', dict(machine=dict(gpu='H')))
    state = json.loads((tmp_path / 'out/suite.json').read_text())
    assert state['steps'][0]['rows'] == [dict(a=1)]
    assert state['machine'] == dict(gpu='H')
    assert '| 1 |' in (tmp_path / 'out/suite.md').read_text()
    assert not list((tmp_path / 'out').glob('*.part'))


def test_no_time_at_all_still_leaves_a_report(suite, tmp_path):
    assert suite('--minutes', '0').run() == 0
    state = json.loads((tmp_path / 'out/suite.json').read_text())
    assert {entry['state'] for entry in state['steps']} == {'left out'}


def test_files_that_cannot_be_brought_home_are_dropped_and_few_are_written(suite, tmp_path, monkeypatch):
    runner = suite()
    monkeypatch.setattr(results, 'MAX_FILE_BYTES', 1000)
    (tmp_path / 'out/trace.json.gz').write_bytes(b'x' * 1001)
    assert runner.results.drop_large_files() == ['trace.json.gz']


def test_claims_that_were_not_measured_say_so(tmp_path):
    found = results.Results(tmp_path, plan.STEPS, dict(rehearsal=False))
    text = plan.CLAIMS[0][1]
    found.add(plan.CLAIMS[0][0], dict(claim=text, claimed='', measured='all', holds=True))
    found.add('guides', dict(claim='another', claimed='2 - 3', measured=1.5, holds=False))
    verdicts = {row['claim']: row['verdict'] for row in found.claims()}
    assert verdicts.pop(text) == 'holds'
    assert verdicts.pop('another') == 'does not hold'
    assert set(verdicts.values()) == {'not measured'}
    assert {name for name, _ in plan.CLAIMS} <= {step.name for step in plan.STEPS}


def test_wheels_are_put_on_the_path_without_pip(suite, tmp_path):
    folder = tmp_path / 'wheels'
    folder.mkdir()
    with zipfile.ZipFile(folder / 'carried-1.0-py3-none-any.whl', 'w') as wheel:
        wheel.writestr('carried/__init__.py', 'VALUE = 7')
    environ = suite('--wheels', str(folder)).environ
    done = subprocess.run(
        [sys.executable, '-c', 'import carried; print(carried.VALUE)'], env=environ, capture_output=True, text=True
    )
    assert done.stdout == '7\n'


def test_unknown_steps_are_refused_with_those_that_there_are():
    with pytest.raises(SystemExit, match=r"unknown steps \['speeed'\]; known: environment, "):
        plan.choose('memory,speeed', None)
    assert [step.name for step in plan.choose('speed,memory', None)] == ['memory', 'speed']
    assert 'memory' not in [step.name for step in plan.choose(None, 'memory')]


def test_the_parent_needs_neither_torch_nor_mmopt():
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import gpu_suite.parent, gpu_suite.child, gpu_suite.points; "
        "print([name for name in ('torch', 'mmopt', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=REPO, capture_output=True, text=True)
    assert done.stdout == '[]\n', done.stderr


def test_the_steps_take_no_more_than_the_minutes_that_they_are_given():
    whole = [step for step in plan.STEPS if step.name != 'compiled']
    assert sum(step.least_s for step in whole) < 8 * 60
    for step in plan.STEPS:
        assert (REPO / f'benchmarks/gpu_suite/steps/{step.name}.py').is_file()


def test_there_are_forty_points_of_memory_and_both_optimizers_meet_all_else():
    found = list(points.all_points(tiny=False))
    assert len(found) == 40
    assert len({points.point_key(point) for point in found}) == 40
    for name in ('precision', 'checkpointing'):
        pairs = {(point[name], point['optimizer']) for point in found}
        assert len(pairs) == 2 * len({point[name] for point in found})
    for task in plan.FIVE:
        batches = {(point['batch_size'], point['optimizer']) for point in points.memory_points(task, tiny=False)}
        assert len(batches) == 4


def test_every_row_of_the_guides_is_one_of_its_table_and_its_full_size_config_loads():
    from gpu_suite.steps import guides

    from mmopt.apis.bench.tables import load_table
    from mmopt.apis.memory.case import load_case, phases_of

    for table, names in guides._ROWS.items():
        settings = {setting.name: setting for setting in load_table(REPO / f'benchmarks/tables/{table}.py').settings}
        for name in names:
            setting = settings[name]
            case = load_case(setting.config, setting.options, precision=setting.precision)
            if phases_of(case.cfg):
                case = load_case(setting.config, setting.options, precision=setting.precision, phase=0)
            assert bool(case.freeze) == ('frozen' in name)
            assert f'batch {case.batch_size}' in name or 'batch' not in name
        assert {key[1] for key in guides._FAMOUS if key[0] == table} <= set(names)


def test_every_task_has_both_configs():
    for task in plan.TASKS.values():
        for tiny in (False, True):
            assert (REPO / task.config(tiny=tiny)).is_file()


def test_a_call_of_cuda_that_torch_would_refuse_is_refused_in_the_rehearsal():
    cuda = _CheckedCuda()
    assert cuda.mem_get_info() == cuda.mem_get_info(0)
    with pytest.raises(TypeError):
        cuda.set_per_process_memory_fraction()
    with pytest.raises(TypeError):
        cuda.set_sync_debug_mode(mode='warn', device=0)
    with pytest.raises(TypeError):
        cuda.Event(timing=True)
    with pytest.raises(AttributeError, match='no_such_function'):
        cuda.no_such_function()
    with pytest.raises(AttributeError, match='has no answer in the rehearsal'):
        cuda.ipc_collect()


def test_without_a_gpu_only_the_rehearsal_runs(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit, match='--cpu-rehearsal'):
        open_gpu(tiny=False)
    gpu = open_gpu(tiny=True)
    assert not gpu.is_real
    times = gpu.times_ms(lambda: time.sleep(0.002), 1, 3)
    assert len(times) == 3
    assert min(times) >= 2


def test_every_call_of_cuda_in_the_steps_goes_through_the_helper_that_checks_it():
    folder = REPO / 'benchmarks/gpu_suite'
    for path in [*folder.glob('*.py'), *folder.glob('steps/*.py')]:
        if path.name != 'device.py':
            assert 'torch.cuda' not in path.read_text(encoding='utf-8').replace('``torch.cuda``', ''), path


def test_a_step_says_rows_and_claims_as_lines_of_json(capsys, tmp_path):
    step = child.Step('bev', True, tmp_path, tmp_path)
    step.row(a=torch.tensor(1.5))
    step.claim('it holds', 2.0, True, '1 - 2')
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [dict(a=1.5), dict(claim='it holds', claimed='1 - 2', measured=2.0, holds=True)]
    assert step.config('bev') == 'configs/demo/lss_swin_nuscenes.py'
    assert (step.size(8, 2), Gpu(torch.device('cpu'), _CheckedCuda()).product_size) == (2, 64)


@pytest.mark.slow
def test_all_steps_run_from_a_copy_of_the_tree_on_a_cpu(tmp_path):
    tree, out = tmp_path / 'tree', tmp_path / 'out'
    files = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'], cwd=REPO, check=True, capture_output=True, text=True
    )
    for name in files.stdout.splitlines():
        if (REPO / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((REPO / name).read_bytes())
    environ = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    script = [sys.executable, 'benchmarks/gpu_suite.py', '--cpu-rehearsal', '--out', str(out)]
    subprocess.run([*script, '--prepare'], cwd=tree, env=environ, check=True)
    command = [*script, '--minutes', '30', '--estimates', str(out / 'estimates.json')]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    state = json.loads((out / 'suite.json').read_text())
    assert {entry['name']: (entry['state'], entry['error']) for entry in state['steps']} == {
        step.name: ('done', '') for step in plan.STEPS
    }
    assert done.returncode == 0, done.stderr
    # On two quiet cores it is done in less; a machine that others use as well counts in processor time only.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4 * 60
    assert all(entry['rows'] for entry in state['steps'])
    written = sorted(path.name for path in Path(out).iterdir())
    assert written == sorted(
        ['suite.json', 'suite.md', 'pytest.xml', 'trace.json.gz', 'logs.tar.gz', 'memory.json', 'speed.json']
        + ['estimates.json']
    )
    rows = json.loads((out / 'memory.json').read_text())['rows']
    assert any('error' in row for row in rows)
