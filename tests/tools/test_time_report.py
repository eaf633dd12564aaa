import json
from pathlib import Path

import cv2

from tests.engine.toy import ToyDataset


def test_a_run_lists_its_data_once_and_says_where_its_time_went(tool, write_config, capsys, monkeypatch):
    listed = []
    original = ToyDataset.load_data_list
    monkeypatch.setattr(ToyDataset, 'load_data_list', lambda self: listed.append(self.length) or original(self))
    assert tool('train').main([str(write_config()), '--work-dir', 'runs/x']) == 0
    assert sorted(listed) == [6, 24]  # validation and training, each once
    out = capsys.readouterr().out
    assert 'change first' in out
    (noted,) = Path('runs/x').glob('*/time_split.json')
    state = json.loads(noted.read_text())
    assert (state['first_iter'], state['last_iter'], state['num_evaluations']) == (0, 8, 2)
    assert state['settings']['val_interval'] == 4
    assert all(state['seconds'][part] > 0 for part in ('data', 'compute', 'hooks', 'evaluation', 'checkpoints'))
    summary = json.loads(Path('runs/x/summary.json').read_text())
    assert 'compute' in summary['time']['time']
    assert cv2.imread('runs/x/time_split.png') is not None
    tool('analyze_logs').main(['runs/x', '--out', 'both.png'])
    out = capsys.readouterr().out
    assert 'change first' in out
    assert 'time: time_split.png' in out
