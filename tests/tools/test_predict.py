"""tools/predict.py, as users call it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmopt.apis.predict.predictor import Predictor
from mmopt.utils.errors import UserError
from tests.apis.predict.trained import Trained, make_detector
from tests.conftest import REPO


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> Trained:
    return make_detector(tmp_path_factory.mktemp('detector'))


def test_with_and_without_a_config_the_tool_finds_the_same(tool, detector, tmp_path, capsys):
    sources = [*detector.pictures[:2], '--format', 'json,csv', '--batch', '2']
    assert tool('predict').main([detector.checkpoint, *sources, '--out', 'alone']) == 0
    assert '2 pictures predicted, 0 files skipped' in capsys.readouterr().out
    options = ['--options', *detector.options]
    assert tool('predict').main([detector.config, detector.checkpoint, *sources, '--out', 'with', *options]) == 0
    for name in ('results.json', 'boxes.csv'):
        assert (tmp_path / 'alone' / name).read_bytes() == (tmp_path / 'with' / name).read_bytes()
    assert tool('predict').main([detector.checkpoint, *sources, '--out', 'alone']) == 0
    assert '0 pictures predicted, 2 were done before, 0 files skipped' in capsys.readouterr().out


def test_skipped_pictures_give_exit_code_3_and_strict_stops(tool, detector, tmp_path):
    Path('broken.png').write_bytes(b'no picture')
    command = [detector.checkpoint, detector.pictures[0], 'broken.png', '--format', 'csv']
    assert tool('predict').main([*command, '--out', 'out']) == 3
    assert len(json.loads((tmp_path / 'out' / 'predictions.json').read_text())['skipped']) == 1
    with pytest.raises(UserError, match=r'broken\.png: not an image'):
        tool('predict').main([*command, '--out', 'strict', '--strict'])


def test_a_command_without_a_source_is_one_line(tool, detector):
    for command in ([detector.checkpoint], [detector.config, detector.checkpoint]):
        with pytest.raises(UserError, match='There is no source'):
            tool('predict').main([*command, '--out', 'out'])


def test_ctrl_c_keeps_what_is_done_and_says_so(tool, detector, monkeypatch, capsys):
    predict = Predictor.predict_batches

    def interrupted(self, batches, **options):
        yield next(predict(self, batches, **options))
        raise KeyboardInterrupt

    command = [detector.checkpoint, *detector.pictures, '--out', 'out', '--batch', '3', '--format', 'csv']
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, 'predict_batches', interrupted)
        with pytest.raises(KeyboardInterrupt):
            tool('predict').main(command)
    assert 'the same command goes on' in capsys.readouterr().err
    assert tool('predict').main(command) == 0
    assert f'{len(detector.pictures) - 3} pictures predicted, 3 were done before' in capsys.readouterr().out


def test_the_console_command_knows_the_tool():
    command = [sys.executable, '-m', 'mmopt.apis.commands', 'predict', '--help']
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0
    assert '--strict' in done.stdout
