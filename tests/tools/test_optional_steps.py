"""What comes after a training may fail: pictures, curves, counts. The run still is a good one."""

import json
import shlex
import signal
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmopt.registry import DATASETS, HOOKS, METRICS
from mmopt.utils.errors import UserError
from tests.conftest import forget_mmengine_globals
from tests.engine.toy import ToyDataset, ToyError
from tests.tools.conftest import DrawnToyDataset

SHORT = ['--options', 'train_cfg.max_iters=2']


@DATASETS.register_module()
class PlainTables(ToyDataset):
    """Samples are float32 vectors: SeededDataset.draw cannot show them."""


@DATASETS.register_module()
class BrokenDrawing(DrawnToyDataset):
    def draw(self, sample, image):
        return image.no_such_attribute


@METRICS.register_module()
class DrawsBadly(ToyError):
    metric_keys = ('error', 'count')

    def draw(self):
        raise RuntimeError('no canvas')


@HOOKS.register_module()
class FailsLast(Hook):
    def after_run(self, runner):
        raise RuntimeError('upload failed')


@HOOKS.register_module()
class EndsAt5(Hook):
    """Ends a run before its sixth iteration as a scheduler would, or as a mistake would."""

    def __init__(self, how: str) -> None:
        self.how = how

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 5 and self.how == 'error':
            raise RuntimeError('the sixth batch is bad')
        if runner.iter == 4 and self.how != 'error':
            signal.raise_signal(getattr(signal, self.how))


def summary(folder: str = 'runs/x') -> dict:
    return json.loads(Path(folder, 'summary.json').read_text())


@pytest.mark.parametrize(
    ('dataset', 'reason'), [('PlainTables', 'Cannot show'), ('BrokenDrawing', 'no_such_attribute')]
)
def test_a_run_whose_samples_cannot_be_drawn_ends_well_and_says_so(tool, write_config, dataset, reason):
    config = write_config()
    options = [*SHORT, f'val_dataloader.dataset.type={dataset}', f'test_dataloader.dataset.type={dataset}']
    assert tool('train').main([str(config), '--work-dir', 'runs/x', *options]) == 0
    assert summary()['iters'] == 2
    assert 'pictures' not in summary()['places']
    assert '--show-dir' not in summary()['next_command']
    log = Path('runs/x/latest.log').read_text()
    (line,) = [line for line in log.splitlines() if 'pictures left out' in line]
    assert reason in line


def test_every_step_after_the_training_may_fail(tool, write_config, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise ValueError('broken')

    for name in ('plot_curves', 'read_time', '_peak_memory', 'median_iteration', 'read_run', 'RunLog.best'):
        monkeypatch.setattr(f'mmopt.apis.run.train.{name}', fail)
    monkeypatch.setattr('mmopt.apis.run.run_pictures.save_pictures', fail)
    assert tool('train').main([str(write_config()), '--work-dir', 'runs/x', *SHORT]) == 0
    saved = summary()
    assert saved['iters'] == 2
    assert saved['metrics']['count'] == 6
    assert saved['places']['checkpoint'].startswith('runs/x/')
    assert 'Done' in capsys.readouterr().out


def test_a_metric_that_cannot_draw_ends_no_training(tool, write_config):
    config = write_config(
        val_evaluator=dict(metrics=[dict(type='DrawsBadly')]), custom_hooks=[dict(type='MetricPicturesHook')]
    )
    assert tool('train').main([str(config), '--work-dir', 'runs/x', *SHORT]) == 0
    assert 'pictures of DrawsBadly left out' in Path('runs/x/latest.log').read_text()


def test_a_hook_that_fails_at_the_very_end_is_an_error_after_the_summary(tool, write_config, capsys):
    config = write_config(custom_hooks=[dict(type='FailsLast')])
    with pytest.raises(RuntimeError, match='upload failed'):
        tool('train').main([str(config), '--work-dir', 'runs/x', *SHORT])
    assert summary()['metrics']['count'] == 6
    assert 'Done' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('how', 'text', 'ends_with'),
    [
        ('SIGTERM', 'stopped by SIGTERM after iteration 5; saved as ', SystemExit),
        ('SIGINT', 'stopped by SIGINT after iteration 5; saved as ', SystemExit),
        ('error', 'RuntimeError: the sixth batch is bad', RuntimeError),
    ],
)
def test_a_run_that_is_stopped_leaves_its_report(tool, write_config, capsys, how, text, ends_with):
    config = write_config(custom_hooks=[dict(type='EndsAt5', how=how)])
    with pytest.raises(ends_with):
        tool('train').main([str(config), '--work-dir', 'runs/x'])
    page = Path('runs/x/report.html').read_text()
    assert text in page
    assert 'going on, or stopped before its end' in page
    assert '--auto-resume' in page
    assert summary()['iters'] == 5
    assert summary()['stopped'].startswith(text)
    assert 'Done' not in capsys.readouterr().out


def test_the_report_of_a_run_that_went_on_after_it_was_stopped_does_not_say_so(tool, write_config):
    config = write_config(custom_hooks=[dict(type='EndsAt5', how='error')])
    with pytest.raises(RuntimeError):
        tool('train').main([str(config), '--work-dir', 'runs/x'])
    forget_mmengine_globals()
    flags = ['--auto-resume', '--options', 'custom_hooks=[]']
    assert tool('train').main([str(config), '--work-dir', 'runs/x', *flags]) == 0
    page = Path('runs/x/report.html').read_text()
    assert 'the sixth batch is bad' not in page
    assert 'stopped before its end' not in page
    assert summary()['stopped'] == ''


def test_a_run_that_is_stopped_before_anything_is_logged_leaves_no_report(tool, write_config):
    hooks = dict(logger=dict(type='LoggerHook', interval=50))
    options = ['--options', 'train_cfg.val_interval=50']
    config = write_config(custom_hooks=[dict(type='EndsAt5', how='error')], default_hooks=hooks)
    with pytest.raises(RuntimeError):
        tool('train').main([str(config), '--work-dir', 'runs/x', *options])
    assert not Path('runs/x/report.html').exists()
    assert 'left out' not in Path('runs/x/latest.log').read_text()


def test_testing_without_pictures_keeps_the_metrics(tool, write_config, capsys):
    config = write_config()
    tool('train').main([str(config), '--work-dir', 'runs/x', *SHORT])
    forget_mmengine_globals()
    options = ['--options', 'test_dataloader.dataset.type=PlainTables']
    command = [str(config), 'runs/x/iter_2.pth', '--show-dir', 'shown', '--out', 'm.json', *options]
    assert tool('test').main(command) == 0
    out = capsys.readouterr()
    assert 'warning: pictures left out: ValueError: Cannot show' in out.err
    assert 'pictures: shown' not in out.out
    assert json.loads(Path('m.json').read_text())['metrics']['count'] == 6


def test_the_next_command_is_quoted_and_counts_from_the_current_folder(tool, write_config, capsys):
    config = write_config('my config')
    tool('train').main([str(config), '--work-dir', 'my runs/x', *SHORT])
    python, script, *arguments = shlex.split(summary('my runs/x')['next_command'])
    assert python == 'python'
    assert Path(script).resolve() == Path(tool('test').__file__)
    assert all(Path(path).is_file() for path in arguments[:2])
    forget_mmengine_globals()
    assert tool('test').main(arguments) == 0
    assert list(Path('my runs/x/test_pictures').iterdir())


_EARLY = dict(type='EarlyStoppingHook', monitor='eror', rule='less')


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        (dict(expect=dict(metric='nope', above=1.0)), "expect.metric='nope' is no metric.*It gives: error, count"),
        (dict(custom_hooks=[_EARLY]), "EarlyStoppingHook.monitor='eror' is no metric.*Did you mean error"),
        (dict(custom_hooks=[dict(type='EMAHook', priority='NOPE')]), "EMAHook: priority='NOPE' is none"),
        (dict(), "save_best='eror' is no metric.*Did you mean error"),
    ],
)
@pytest.mark.parametrize('flags', [['--dry-run'], []])
def test_what_would_spoil_a_run_later_is_refused_before_it(tool, write_config, changes, text, flags):
    config = write_config(val_evaluator=dict(metrics=[dict(type='DrawsBadly')]), **changes)
    best = [] if changes else ['--options', 'default_hooks.checkpoint.save_best=eror']
    with pytest.raises(UserError, match=text):
        tool('train').main([str(config), *best, *flags])
    assert not list(Path().glob('work_dirs/*/*.pth'))


@pytest.mark.parametrize('flags', [['--dry-run'], []])
def test_a_work_dir_that_cannot_be_made_is_refused_before_the_run(tool, write_config, flags):
    Path('file').touch()
    with pytest.raises(UserError, match='--work-dir .*file/x cannot be made: .*file is a file'):
        tool('train').main([str(write_config()), '--work-dir', 'file/x', *flags])


def test_a_metric_that_tells_no_names_is_found_out_by_the_first_evaluation(tool, write_config):
    config = write_config(expect=dict(metric='nope', above=1.0))
    with pytest.raises(UserError, match="expect.metric='nope' is not among the metrics"):
        tool('train').main([str(config), '--work-dir', 'runs/x'])
    assert Path('runs/x/iter_4.pth').exists()
    assert not Path('runs/x/iter_8.pth').exists()


def test_an_output_that_is_a_folder_is_refused_before_anything_is_computed(tool, write_config):
    config = write_config()
    Path('results').mkdir()
    for name, argv in {
        'test': [str(config), 'no.pth', '--out', 'results'],
        'tune': [str(config), '--out', 'results'],
        'benchmark': [str(config), '--out', 'results'],
        'export': [str(config), '--out', 'results'],
        'publish_model': ['no.pth', '--out', 'results'],
        'convert_config': [str(config), '--out', 'results'],
        'analyze_logs': ['no', '--out', 'results'],
    }.items():
        with pytest.raises(UserError, match='--out results is a folder: name a file in it'):
            tool(name).main(argv)


@pytest.mark.parametrize('scope', ['mmopt', 'mmengine'])
def test_a_dry_run_knows_the_hooks_of_every_scope_with_all_their_arguments(tool, write_config, scope):
    hooks = dict(logger=dict(type='LoggerHook', interval=2, by_epoch=False), peak=dict(type='PeakMemoryHook'))
    config = write_config(default_hooks=hooks, default_scope=scope)
    assert tool('train').main([str(config), '--dry-run']) == 0
    with pytest.raises(TypeError, match="PeakMemoryHook.* got an unexpected keyword argument 'no'"):
        tool('train').main([str(config), '--dry-run', '--options', 'default_hooks.peak.no=1'])
