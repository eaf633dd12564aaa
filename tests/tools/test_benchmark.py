"""tools/benchmark.py from the command line to the report."""

import json
import os
from pathlib import Path

import pytest
from mmengine.config import Config

from mmopt.apis.bench.trial import main
from mmopt.utils.errors import UserError
from tests.conftest import forget_mmengine_globals
from tests.engine.toy import toy_config


@pytest.fixture
def config(tmp_path):
    cfg = toy_config(tmp_path / 'unused') | dict(custom_imports=dict(imports=['tests.engine.toy']))
    del cfg['work_dir']
    Config(cfg).dump(tmp_path / 'toy.py')
    return str(tmp_path / 'toy.py')


@pytest.fixture
def _trials_here(monkeypatch):
    """Run trials in this process: tests/apis/bench/test_trial.py starts a real one."""

    def run(command, log, timeout_s):
        forget_mmengine_globals()
        monkeypatch.setattr('os.getppid', os.getpid)
        return main(command[3:])

    monkeypatch.setattr('mmopt.apis.bench.launch._run', run)
    monkeypatch.setattr('mmopt.utils.machine._SIZE', dict(cpu=64))


@pytest.mark.usefixtures('_trials_here')
def test_two_settings_are_compared_and_not_measured_twice(tool, config, capsys):
    argv = [config, '--options-b', 'train_dataloader.batch_size=8', '--rounds', '1', '--warmup', '1', '--iters', '4']
    assert tool('benchmark').main(argv) == 0
    out, err = capsys.readouterr()
    assert '| as it is | 4 |' in out
    assert '| b: train_dataloader.batch_size=8 | 8 |' in out
    assert 'from before' not in err
    report = Path('work_dirs/benchmark/toy/report')
    rows = json.loads(report.with_suffix('.json').read_text())['rows']
    assert [row['batch_size'] for row in rows] == [4, 8]
    assert rows[1]['hours']['total'] > 0
    assert report.with_suffix('.png').is_file()
    assert tool('benchmark').main(argv) == 0
    assert capsys.readouterr().err.count('from before') == 2


def test_a_wrong_option_is_told_before_anything_runs(tool, config):
    with pytest.raises(UserError, match='nothing lies inside it'):
        tool('benchmark').main([config, '--options-b', 'default_scope.x.y=1'])
    with pytest.raises(UserError, match='does not exist'):
        tool('benchmark').main(['no/such.py'])
    assert not Path('work_dirs').exists()


@pytest.mark.parametrize('argv', [[], ['x.py', '--table', 'bev'], ['--table', 'bev', '--precision', 'bf16']])
def test_arguments_that_contradict_each_other_are_refused(tool, argv):
    with pytest.raises(SystemExit):
        tool('benchmark').main(argv)
