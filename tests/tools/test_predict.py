"""tools/predict.py, as users call it."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmopt.apis.predict.predictor import Predictor
from mmopt.utils.errors import UserError
from tests.apis.predict.trained import Trained, make_detector
from tests.conftest import REPO
from tests.datasets.video.conftest import write_video


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> Trained:
    return make_detector(tmp_path_factory.mktemp('detector'))


def test_with_and_without_a_config_the_tool_finds_the_same(tool, detector, tmp_path, capsys):
    sources = [*detector.pictures[:2], '--format', 'json,csv', '--batch', '2']
    assert tool('predict').main([detector.checkpoint, *sources, '--out', 'alone']) == 0
    assert '2 pictures predicted, 0 skipped' in capsys.readouterr().out
    options = ['--options', *detector.options]
    assert tool('predict').main([detector.config, detector.checkpoint, *sources, '--out', 'with', *options]) == 0
    for name in ('results.json', 'boxes.csv'):
        assert (tmp_path / 'alone' / name).read_bytes() == (tmp_path / 'with' / name).read_bytes()
    assert tool('predict').main([detector.checkpoint, *sources, '--out', 'alone']) == 0
    assert '0 pictures predicted, 2 were done before, 0 skipped' in capsys.readouterr().out


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

    def interrupted(self, batches, **kwargs):
        yield next(predict(self, batches, **kwargs))
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


def test_a_film_is_cut_piped_and_drawn(tool, detector, tmp_path, capsys):
    film = write_video(tmp_path / 'in' / 'my film.mkv', 40)
    command = [detector.checkpoint, str(film), '--out', 'out', '--start', '0.5s', '--end', '36', '--step', '5']
    assert tool('predict').main([*command, '--batch', 'auto', '--show-every', '2', '--conf', '0.3']) == 0
    assert '5 pictures predicted, 0 skipped' in capsys.readouterr().out
    manifest = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert manifest['film'] == dict(start='0.5s', end='36', step='5', fps=None)
    assert manifest['batch'] == 'auto'
    names = sorted(path.stem for path in (tmp_path / 'out' / 'pictures' / 'my film').iterdir())
    assert names == ['000015', '000025', '000035']
    with pytest.raises(UserError, match=r'another film .*--overwrite'):
        tool('predict').main([detector.checkpoint, str(film), '--out', 'out', '--conf', '0.3'])
    assert tool('predict').main([detector.checkpoint, str(film), '--out', 'out', '--overwrite', '--end', '3']) == 0
    assert not list((tmp_path / 'out').glob('pictures/*/*.png'))


def test_paths_are_piped_in(tool, detector, tmp_path, monkeypatch):
    sent = '\n'.join(detector.pictures[:3]).encode()
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BufferedReader(io.BytesIO(sent))))
    assert tool('predict').main([detector.checkpoint, '-', '--out', 'out', '--format', 'json']) == 0
    assert len(json.loads((tmp_path / 'out' / 'results.json').read_text())) == 3


def test_a_camera_that_is_not_there_is_one_line(detector, tmp_path):
    """OpenCV's own lines come from C++, past Python's standard error."""
    script = [sys.executable, REPO / 'tools' / 'predict.py', detector.checkpoint, '9', '--out', tmp_path / 'out']
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if 'INFO' not in line]
    assert done.returncode == 2
    assert len(said) == 1, said
    assert 'OpenCV opens no camera of this number' in said[0]
