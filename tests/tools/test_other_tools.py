import json
import re
import subprocess
from pathlib import Path

import cv2
import pytest

from mmopt.utils.errors import UserError
from tests.config.samples import make_config
from tests.conftest import forget_mmengine_globals
from tests.tools.conftest import TOOLS


@pytest.fixture
def trained(tool, write_config, capsys) -> Path:
    config = write_config()
    tool('train').main([str(config), '--work-dir', 'runs/x'])
    forget_mmengine_globals()
    capsys.readouterr()
    return config


def test_testing_repeats_the_last_evaluation_of_the_training(trained, tool, capsys):
    flags = ['--show-dir', 'shown', '--num-pictures', '3', '--out', 'out/metrics.json']
    assert tool('test').main([str(trained), 'runs/x/iter_8.pth', *flags]) == 0
    report = json.loads(Path('out/metrics.json').read_text())
    expected = json.loads(Path('runs/x/summary.json').read_text())['metrics']
    assert report['metrics'] == pytest.approx(expected)
    assert sorted(path.name for path in Path('shown').iterdir()) == ['000000.jpg', '000002.jpg', '000004.jpg']
    assert cv2.imread('shown/000000.jpg') is not None
    assert 'error' in capsys.readouterr().out


def test_testing_leaves_the_log_of_the_training_alone(trained, tool):
    before = Path('runs/x/latest.log').resolve()
    tool('test').main([str(trained), 'runs/x/iter_8.pth'])
    assert Path('runs/x/latest.log').resolve() == before
    assert Path('work_dirs/toy/test/latest.log').exists()


def test_the_command_that_a_training_ends_with_works_and_keeps_its_options(tool, write_config, capsys):
    config = write_config()
    tool('train').main([str(config), '--work-dir', 'runs/x', '--options', 'test_dataloader.dataset.length=5'])
    command = json.loads(Path('runs/x/summary.json').read_text())['next_command']
    python, script, *arguments = command.split()
    assert (python, Path(script).resolve(), arguments[0]) == ('python', TOOLS / 'test.py', 'runs/x/toy.py')
    forget_mmengine_globals()
    assert tool('test').main(arguments) == 0
    assert len(list(Path('runs/x/test_pictures').iterdir())) == 5


def test_a_missing_checkpoint_names_those_beside_it(trained, tool):
    with pytest.raises(UserError, match=r'checkpoint runs/x/iter_9.pth does not exist. Did you mean .*iter_8.pth'):
        tool('test').main([str(trained), 'runs/x/iter_9.pth'])


def test_logs_become_a_picture_and_a_table(trained, tool, capsys):
    tool('analyze_logs').main(['runs/x', '--keys', 'loss', 'error', '--out', 'c.png'])
    assert cv2.imread('c.png') is not None
    head, body, last, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ['run', 'iterations', 'loss', 'error']
    assert body.split()[:2] == ['x', '8']
    assert last == 'curves: c.png'


def test_a_printed_config_has_its_options_and_lowered_its_flags(write_config, tool, capsys):
    config = str(write_config())
    tool('print_config').main([config, '--options', 'train_cfg.max_iters=77'])
    assert 'max_iters=77' in capsys.readouterr().out
    tool('print_config').main([config, '--lowered', '--precision', 'bf16', '--seed', '3', '--deterministic'])
    out = capsys.readouterr().out
    for text in ("dtype='bfloat16'", "type='AmpOptimWrapper'", 'seed=3', 'deterministic=True', "'work_dirs/toy'"):
        assert text in out


def test_a_printed_config_names_the_keys_without_effect(tool, capsys):
    path = Path('old.py')
    cfg = make_config(checkpoint_config=dict(create_symlink=True), workflow=[('train', 1)])
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.items()))
    tool('print_config').main([str(path), '--lowered'])
    out = capsys.readouterr().out
    assert '# workflow has no effect: every phase trains; one that validates is refused.' in out
    assert '# checkpoint_config.create_symlink has no effect: the file `last_checkpoint` names' in out
    assert len(re.findall('has no effect', out)) == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [([], 'usage: bash'), (['c.py', 'two'], "NUM_PROCESSES must be a whole number, got 'two'")],
)
def test_the_distributed_script_refuses_what_it_cannot_start(arguments, message):
    done = subprocess.run(['bash', str(TOOLS / 'dist_train.sh'), *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_distributed_script_starts_one_process_per_gpu():
    done = subprocess.run(
        ['bash', str(TOOLS / 'dist_train.sh'), 'c.py', '3', '--options', 'a=1'],
        capture_output=True,
        text=True,
        env=dict(PATH='/usr/bin:/bin', PYTHON='echo'),
    )
    expected = '-m torch.distributed.run --standalone --nproc-per-node 3'
    assert done.stdout.startswith(expected)
    assert done.stdout.endswith('train.py c.py --launcher pytorch --options a=1\n')
