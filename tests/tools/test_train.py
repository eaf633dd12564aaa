import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from mmopt.apis.cli.errors import explain
from mmopt.engine.checkpoint_io import UnsafeCheckpointError
from mmopt.utils.errors import UserError
from tests.conftest import forget_mmengine_globals
from tests.tools.conftest import TOOLS


def test_a_run_ends_with_a_summary_and_everything_in_its_place(tool, write_config, capsys):
    config = write_config()
    assert tool('train').main([str(config), '--work-dir', 'runs/x']) == 0
    work_dir = Path('runs/x')
    names = {path.name for path in work_dir.iterdir()}
    assert {'iter_8.pth', 'best_error.pth', 'last_checkpoint', 'latest.log', 'curves.png', 'summary.json'} <= names
    assert cv2.imread(str(work_dir / 'pictures' / '000000.jpg')).shape == (8, 8, 3)
    saved = json.loads((work_dir / 'summary.json').read_text())
    assert saved['iters'] == 8
    assert saved['best'][1] <= saved['metrics']['error']
    out = capsys.readouterr().out
    for text in (
        '8 iterations',
        '4 per step',
        'Done',
        'peak memory',
        'runs/x/best_error.pth',
        'tools/test.py runs/x/toy.py runs/x/best_error.pth --show-dir runs/x/test_pictures',
    ):
        assert text in out


def test_the_work_dir_is_named_after_the_config(tool, write_config):
    tool('train').main([str(write_config('my_run'))])
    assert Path('work_dirs/my_run/last_checkpoint').exists()


def test_a_dry_run_describes_and_leaves_nothing(tool, write_config, capsys):
    config = write_config()
    assert (
        tool('train').main([str(config), '--dry-run', '--precision', 'bf16', '--options', 'train_cfg.max_iters=5']) == 0
    )
    out = capsys.readouterr().out
    assert 'bf16' in out
    assert '5 iterations' in out
    assert not Path('work_dirs').exists()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--seed', '-5'], '^--seed must be a whole number from 0 to 4294967295, got -5'),
        (['--seed', '8589934592'], 'got 8589934592'),
        (['--options', 'optim_wrapper.optimizer.lr=-1'], 'optim_wrapper.optimizer.lr must be .* at least 0, got -1'),
        (['--options', 'optim_wrapper.optimizer.betas=(0.9,1.5)'], r'optimizer.betas must be .*, got \(0.9, 1.5\)'),
        (['--options', 'optim_wrapper.optimizer.type=SGDD'], "'SGDD' is not a known optimizer. Did you mean SGD"),
        (['--options', 'optim_wrapper.optimizer.momentun=0.9'], "AdamW has no argument 'momentun'"),
        (
            ['--options', 'optim_wrapper.optimizer.type=SGD', 'optim_wrapper.optimizer.nesterov=True'],
            "optimizer.type='SGD' does not take its arguments: Nesterov momentum requires",
        ),
        (
            ['--options', "visualizer={'type':'Visualizer','vis_backends':[{'type':'ClearMLVisBackend'}]}"],
            'ClearMLVisBackend: the package clearml is not installed: .* take it out of visualizer.vis_backends',
        ),
        (
            ['--options', "model.init_cfg={'type':'Pretrained','checkpoint':'there_is_none.pth'}"],
            "model: init_cfg's checkpoint there_is_none.pth does not exist",
        ),
        (['--options', 'optim_wrapper.type=OptimWraper'], "'OptimWraper' is not a known .* Did you mean OptimWrapper"),
        (['--options', "param_scheduler=[{'type':'MultiStepLR'}]"], "MultiStepLR: missing .* argument: 'milestones'"),
        (
            ['--options', "param_scheduler=[{'type':'StepLR','step_size':3,'gama':1}]"],
            "StepLR: unexpected keyword argument 'gama'",
        ),
        (['--options', 'train_dataloader.sampler.shufle=True'], "no argument 'shufle'.*Did you mean shuffle"),
        (['--options', 'train_dataloader.collate_fn.type=stack_colate'], "'stack_colate' is not a known"),
        (
            ['--options', 'train_cfg.max_iter=3'],
            "IterBasedTrainLoop has no argument 'max_iter'.*Did you mean max_iters",
        ),
        (['--options', 'train_dataloader.batch_sizee=3'], "no key 'batch_sizee'. Did you mean batch_size"),
        (['--options', 'train_cfg.val_begins=3'], "no argument 'val_begins'.*Did you mean val_begin"),
        (['--options', 'val_cfg.fp=True'], "ValLoop has no argument 'fp'"),
        (['--options', 'optim_wrapper.clip_gradd=3'], "no argument 'clip_gradd'.*Did you mean clip_grad"),
        (['--options', 'log_processor.window=3'], "LogProcessor has no argument 'window'"),
        (['--options', 'runner_type=NopeRunner'], "'NopeRunner' is not a known runner"),
        (['--options', "param_scheduler=[{'type':'MultiStepLRR'}]"], "'MultiStepLRR' is not a known"),
        (['--options', 'train_dataloader.sampler.type=Samplr'], "'Samplr' is not a known"),
        (['--options', 'val_cfg.type=ValLop'], "'ValLop' is not a known loop. Did you mean ValLoop"),
        (['--options', "val_evaluator=[{'type':'ToyErr'}]"], "'ToyErr' is not a known metric. Did you mean ToyError"),
        (['--options', "val_evaluator=[{'type':'ToyError','unheard':1}]"], "no argument 'unheard'"),
        (['--options', "val_evaluator=[{'type':'DatasetEvaluateMetric'}]"], r'evaluate\(results, ...\)'),
        (['--options', 'model.unheard=1'], "no argument 'unheard'"),
        (['--options', 'model.use_gradient_checkpointing=true'], 'write optimize.checkpointing=blocks'),
        (['--options', 'samples_per_gpu=2'], 'write train_dataloader.batch_size=2'),
    ],
)
@pytest.mark.parametrize('dry', [['--dry-run'], []])
def test_what_the_config_alone_tells_is_found_before_the_first_iteration(tool, write_config, flags, message, dry):
    with pytest.raises((UserError, KeyError, TypeError, ValueError)) as caught:
        tool('train').main([str(write_config()), *dry, *flags])
    assert re.search(message, explain(caught.value))
    assert not list(Path().glob('work_dirs/*/*.pth'))


def test_a_resumed_run_does_the_rest_only(tool, write_config, capsys):
    config = write_config()
    train = tool('train').main
    train([str(config), '--work-dir', 'runs/x', '--options', 'train_cfg.max_iters=4'])
    forget_mmengine_globals()
    train([str(config), '--work-dir', 'runs/x', '--auto-resume'])
    assert 'after iteration 4, 4 to go' in capsys.readouterr().out
    assert json.loads(Path('runs/x/summary.json').read_text())['iters'] == 4
    forget_mmengine_globals()
    train([str(config), '--work-dir', 'runs/y', '--resume-from', 'runs/x/iter_4.pth'])
    assert json.loads(Path('runs/y/summary.json').read_text())['iters'] == 4


def test_auto_resume_without_a_checkpoint_begins(tool, write_config):
    tool('train').main([str(write_config()), '--work-dir', 'runs/x', '--auto-resume'])
    assert json.loads(Path('runs/x/summary.json').read_text())['iters'] == 8


def test_no_validate_trains_without_metrics(tool, write_config, capsys):
    tool('train').main([str(write_config()), '--work-dir', 'runs/x', '--no-validate'])
    out = capsys.readouterr().out
    assert 'evaluation     none' in out
    assert json.loads(Path('runs/x/summary.json').read_text())['metrics'] == {}


@pytest.mark.parametrize(('above', 'code'), [(-1.0, 0), (1e9, 1)])
def test_a_missed_expectation_is_the_exit_code(tool, write_config, above, code):
    config = write_config(expect=dict(metric='error', above=above))
    assert tool('train').main([str(config), '--work-dir', 'runs/x']) == code


def test_gpu_ids_on_a_machine_without_one_warn_and_train(tool, write_config, capsys, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    assert tool('train').main([str(write_config()), '--dry-run', '--gpu-ids', '0']) == 0
    assert 'no usable GPU here, running on the CPU' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['configs/toi.py'], r'config configs/toi.py does not exist. Did you mean configs/toy.py\?'),
        (['confgs/toy.py'], r'there is no folder confgs .*Did you mean configs/toy.py\?'),
        (['configs'], r'configs is a folder, not a file. Did you mean configs/toy.py\?'),
        (['configs/toy.py', '--resume-from', 'no.pth'], 'checkpoint no.pth does not exist'),
        (['configs/toy.py', '--gpus', '2'], 'bash .*tools/dist_train.sh configs/toy.py 2'),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(tool, write_config, flags, message):
    write_config()
    with pytest.raises(UserError, match=message) as caught:
        tool('train').main(flags)
    assert '\n' not in str(caught.value)


def test_a_broken_config_names_the_file(tool):
    Path('broken.py').write_text('model = dict(\n')
    with pytest.raises(UserError, match=r"^broken.py:1: '\(' was never closed: model = dict\($"):
        tool('train').main(['broken.py'])
    Path('bases.py').write_text("_base_ = ['./no.py']\n")
    with pytest.raises(UserError, match=r'bases.py: no.py, named in _base_, does not exist'):
        tool('train').main(['bases.py'])
    Path('names.py').write_text('a = 1\nb = c\n')
    with pytest.raises(UserError, match=r"names.py:2: NameError: name 'c' is not defined"):
        tool('train').main(['names.py'])


def test_resuming_and_auto_resuming_exclude_each_other(tool, capsys):
    with pytest.raises(SystemExit) as caught:
        tool('train').main(['c.py', '--resume-from', 'x', '--auto-resume'])
    assert caught.value.code == 2
    assert 'not allowed with' in capsys.readouterr().err


def test_as_a_command_a_wrong_path_gives_one_line_and_exit_code_2():
    repo = TOOLS.parent
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'train.py'), 'configs/no_such.py'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(repo)},
    )
    assert done.returncode == 2
    assert done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: config configs/no_such.py does not exist')


class Foreign:
    """What another project pickled into its checkpoint."""


def test_a_checkpoint_with_foreign_objects_needs_the_flag_of_the_message(tool, write_config, capsys):
    config = str(write_config())
    tool('train').main([config, '--work-dir', 'runs/x'])
    content = torch.load('runs/x/iter_4.pth', weights_only=True)
    del content['meta']['mmopt_version'], content['message_hub']
    torch.save(content | dict(meta=content['meta'] | dict(config=Foreign())), 'iter_4.pth')
    tools = {
        'train': [config, '--work-dir', 'runs/y', '--load-from', 'iter_4.pth'],
        'test': [config, 'iter_4.pth', '--out', 'm.json'],
    }
    for name, arguments in tools.items():
        forget_mmengine_globals()
        with pytest.raises(UnsafeCheckpointError, match=r'iter_4\.pth: .*Foreign.* say --allow-pickle'):
            tool(name).main(arguments)
        forget_mmengine_globals()
        assert tool(name).main([*arguments, '--allow-pickle']) == 0
    assert Path('m.json').is_file()


def test_automatic_resuming_of_the_config_goes_before_its_weights(tool, write_config, capsys):
    config = write_config(auto_resume=True, load_from='none_yet.pth', resume=False)
    Path('none_yet.pth').write_bytes(b'')
    with pytest.raises(UserError, match='none_yet.pth'):
        tool('train').main([str(config), '--work-dir', 'runs/x'])
    forget_mmengine_globals()
    other = write_config('other')
    tool('train').main([str(other), '--work-dir', 'runs/x', '--options', 'train_cfg.max_iters=4'])
    forget_mmengine_globals()
    tool('train').main([str(config), '--work-dir', 'runs/x'])
    assert 'after iteration 4, 4 to go' in capsys.readouterr().out
    forget_mmengine_globals()
    # A test takes the checkpoint that it is told, whatever lies in the work dir.
    assert tool('test').main([str(config), 'runs/x/iter_4.pth', '--work-dir', 'runs/x']) == 0
    assert 'Resumed' not in Path('runs/x/latest.log').read_text()
