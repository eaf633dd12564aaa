"""What the terminal shows of a log: short lines, with colors on a terminal only."""

import logging
import re
from io import StringIO

import pytest

from mmopt.engine.logging.console import WIDTH, ConsoleFormatter, evaluation_line, loss_of, training_line
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


SCALARS = dict(
    lr=8.515e-4, data_time=0.06, time=1.8775, loss=2.1833, loss_cls=2.1833, accuracy=0.125, mem_host_gib=0.58
)
GREEN, RED = '\033[32m', '\033[31m'


def test_a_training_line_has_the_five_values_that_count():
    line = training_line('epoch 2  18/180', SCALARS, None, 406.0, StringIO())
    assert line == 'epoch 2  18/180  loss 2.183  lr 8.52e-04  1.88 s/iter  0.6 GiB  6 min 46 s left'


@pytest.mark.parametrize(('previous', 'color'), [(3.0, GREEN), (1.0, RED), (2.1833, ''), (None, '')])
def test_a_loss_that_fell_is_green_and_one_that_rose_is_red(monkeypatch, previous, color):
    monkeypatch.delenv('NO_COLOR', raising=False)
    line = training_line('1/2', SCALARS, previous, None, Terminal())
    assert f'{color}loss 2.183' in line
    assert ('\033' in line) == bool(color)


def test_the_loss_is_the_sum_or_that_of_the_first_of_several_optimizers():
    assert loss_of(dict(loss_scale=65536.0, loss_cls=1.0, loss=3.0)) == 3.0
    assert loss_of(dict(loss_scale=65536.0, d_loss=1.0, g_loss=2.0)) == 1.0
    assert loss_of(dict(lr=1.0)) is None


METRICS = {'mIoU': 0.5, 'aAcc': 0.9, 'mAcc': 0.6, 'IoU.car': 0.1, 'time': 0.3, 'a_very_long_name_of_a_metric' * 3: 1.0}


@pytest.mark.parametrize(
    ('best', 'rule', 'text', 'color'),
    [
        (None, None, 'mIoU 0.5 (best)', ''),
        (0.4, None, 'mIoU 0.5 (best)', GREEN),
        (0.5, None, 'mIoU 0.5 (best)', GREEN),
        (0.6, None, 'mIoU 0.5 (best 0.6)', RED),
        (0.4, 'less', 'mIoU 0.5 (best 0.4)', RED),
    ],
)
def test_an_evaluation_says_whether_it_is_the_best(monkeypatch, best, rule, text, color):
    monkeypatch.delenv('NO_COLOR', raising=False)
    line = evaluation_line('at 750', METRICS, 'mIoU', best, rule=rule, stream=Terminal())
    assert f'{color}{text}' in line
    assert line.startswith('validation at 750  ')
    assert 'aAcc 0.9  mAcc 0.6' in line
    assert 'IoU.car' not in line
    assert 'a_very_long' not in line  # it does not fit


def test_the_terminal_shows_the_short_text_and_names_warnings():
    formatter = ConsoleFormatter(StringIO())
    record = logging.LogRecord('x', logging.INFO, '', 0, 'long', None, None)
    assert re.fullmatch(r'\d\d:\d\d:\d\d  long', formatter.format(record))
    record.short = 'short'
    assert re.fullmatch(r'\d\d:\d\d:\d\d  short', formatter.format(record))
    warning = logging.LogRecord('x', logging.WARNING, '', 0, 'full', None, None)
    assert formatter.format(warning).endswith('  warning: full')


def test_lines_of_a_run_fit_a_terminal_and_its_file_has_every_value(tmp_path, capsys):
    build(toy_config(tmp_path)).train()
    shown = [
        line
        for line in capsys.readouterr().out.splitlines()
        if re.match(r'\d\d:\d\d:\d\d  (\d|epoch|validation)', line)
    ]
    assert any('validation' in line and '(best)' in line for line in shown)
    assert any('loss' in line and 'lr ' in line and '/iter' in line for line in shown)
    assert max(map(len, shown)) <= WIDTH
    text = next(tmp_path.glob('*.log')).read_text()
    assert 'data_time: ' in text
    assert 'Iter(train)' in text
