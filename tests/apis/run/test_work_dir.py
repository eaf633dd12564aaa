"""One work dir, one run: a used one is refused with the ways out, a running one is locked, whatever ends the run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmopt.apis.cli.resume_command import resume_command
from mmopt.utils import run_lock
from mmopt.utils.errors import UserError
from mmopt.utils.run_lock import LOCK_NAME, hold_folder, holder_of
from tests.conftest import REPO, forget_mmengine_globals, load_script
from tests.engine.toy import toy_config
from tests.tools.conftest import DrawnToyDataset


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train two iterations of the toy task, with flags of ``tools/train.py``."""
    monkeypatch.chdir(tmp_path)
    cfg = toy_config(tmp_path / 'unused', max_iters=2)
    cfg['val_dataloader']['dataset']['type'] = DrawnToyDataset.__name__
    cfg['default_hooks']['checkpoint'].update(save_best='error', rule='less')
    del cfg['work_dir']
    Config(cfg).dump(tmp_path / 'toy.py')

    def run(*flags: str) -> int:
        forget_mmengine_globals()
        return load_script('tools/train.py').main(['toy.py', *flags])

    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_second_run_in_a_work_dir_is_refused_with_the_three_ways_out_and_changes_nothing(train):
    train()
    folder = Path('work_dirs/toy')
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    for flags in ([], ['--dry-run'], ['--load-from', 'work_dirs/toy/iter_2.pth']):
        with pytest.raises(UserError, match=r'holds a run already \(\S+\)') as caught:
            train(*flags)
        message = str(caught.value)
        assert all(way in message for way in ('--auto-resume', '--work-dir DIR', '--overwrite'))
        assert '\n' not in message
        assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before


def test_every_way_out_is_one(train, capsys):
    train()
    folder = Path('work_dirs/toy')
    train('--auto-resume', '--options', 'train_cfg.max_iters=3')
    assert (folder / 'iter_3.pth').is_file()
    train('--work-dir', 'elsewhere')
    capsys.readouterr()
    (folder / 'notes.txt').write_text('mine')
    (folder / 'pretrained.pth').write_text('mine')
    train('--overwrite')
    assert f'to {folder / "overwritten"}' in capsys.readouterr().out
    assert {'iter_2.pth', 'iter_3.pth', 'last_checkpoint', 'summary.json', 'pictures'} <= names(folder / 'overwritten')
    assert 'iter_3.pth' not in names(folder)
    assert (folder / 'notes.txt').read_text() == (folder / 'pretrained.pth').read_text() == 'mine'
    # The summary knows this run alone: one log, its own best.
    assert len(list(folder.glob('*/vis_data/scalars.json'))) == 1
    train('--overwrite')
    assert 'iter_3.pth' not in names(folder / 'overwritten')


def test_a_run_may_go_on_from_a_checkpoint_of_its_own_folder_and_begin_in_a_folder_with_other_things(train):
    Path('work_dirs/toy').mkdir(parents=True)
    Path('work_dirs/toy/train.log').write_text('of tee')
    train()
    train('--resume-from', 'work_dirs/toy/iter_2.pth', '--options', 'train_cfg.max_iters=3')
    assert Path('work_dirs/toy/iter_3.pth').is_file()


def test_going_on_with_a_run_of_another_folder_in_a_used_one_is_refused(train):
    train('--work-dir', 'a')
    train('--work-dir', 'b')
    with pytest.raises(UserError, match='b holds a run already'):
        train('--work-dir', 'b', '--resume-from', 'a/iter_2.pth', '--options', 'train_cfg.max_iters=3')


def test_overwriting_keeps_the_weights_that_the_run_begins_with(train):
    train()
    with pytest.raises(UserError, match='--overwrite would move .*iter_2.pth, which the run begins with'):
        train('--overwrite', '--load-from', 'work_dirs/toy/iter_2.pth')
    assert Path('work_dirs/toy/iter_2.pth').is_file()


def test_overwriting_begins_anew_whatever_the_config_says_of_resuming(train):
    train()
    train('--overwrite', '--options', 'auto_resume=True')
    assert json.loads(Path('work_dirs/toy/summary.json').read_text())['iters'] == 2


def test_overwriting_and_going_on_exclude_each_other(train, capsys):
    for flags in (['--auto-resume'], ['--resume-from', 'x.pth']):
        with pytest.raises(SystemExit):
            train('--overwrite', *flags)
    assert 'not allowed with argument' in capsys.readouterr().err


def test_the_command_that_goes_on_does_not_overwrite():
    assert resume_command(['tools/train.py', 'c.py', '--overwrite'], {}) == 'python tools/train.py c.py --auto-resume'


def test_a_run_leaves_no_lock(train):
    train()
    assert LOCK_NAME not in names(Path('work_dirs/toy'))


HOLD = """
import os, sys, time
from pathlib import Path
from mmopt.utils import run_lock
if sys.argv[2] == 'without':
    run_lock.fcntl = None
with run_lock.hold_folder(Path(sys.argv[1])) as holder:
    assert holder is None, holder
    child = os.fork()  # a data worker, which may outlive a killed run for seconds
    if not child:
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=['with', 'without'])
def holder(request, tmp_path, monkeypatch):
    """A process that holds the folder, on a system with and without locks."""
    if request.param == 'without':
        monkeypatch.setattr(run_lock, 'fcntl', None)
    command = [sys.executable, '-c', HOLD, str(tmp_path), request.param]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(REPO)})
    worker = int(process.stdout.readline())
    yield process
    process.kill()
    os.kill(worker, signal.SIGKILL)  # first: it holds the pipe open that communicate() reads to its end
    process.communicate()


def test_a_folder_is_held_by_one_process_and_free_when_it_is_killed(holder, tmp_path):
    assert holder_of(tmp_path)['pid'] == holder.pid
    with hold_folder(tmp_path) as other:
        assert other['pid'] == holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_NAME).is_file()  # what a killed run leaves, its workers still alive
    with hold_folder(tmp_path) as other:
        assert other is None
        with hold_folder(tmp_path) as second:
            assert second['pid'] == os.getpid()
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_run_that_is_going_on_is_named(train, tmp_path):
    folder = Path('work_dirs/toy')
    folder.mkdir(parents=True)
    with hold_folder(folder):
        for flags in ([], ['--auto-resume'], ['--overwrite'], ['--dry-run']):
            with pytest.raises(UserError, match=rf'another run is writing there \(process {os.getpid()} on '):
                train(*flags)
    assert train() == 0


def test_many_processes_that_begin_at_once_are_one(tmp_path):
    code = (
        'import sys, time\nfrom pathlib import Path\nfrom mmopt.utils.run_lock import hold_folder\n'
        'with hold_folder(Path(sys.argv[1])) as holder:\n    time.sleep(1.0)\n    print(holder is None)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(REPO)}
    command = [sys.executable, '-c', code, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
    answers = [process.communicate()[0].strip() for process in started]
    assert answers.count('True') == 1
