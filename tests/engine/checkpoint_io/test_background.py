import threading

import pytest
import torch

from mmopt.engine.checkpoint_io import BackgroundWriter, CheckpointWriteError, load, save
from mmopt.engine.checkpoint_io import write as write_module


@pytest.fixture
def gate(monkeypatch) -> threading.Event:
    """Hold every write back until the event is set."""
    event = threading.Event()
    replace_file = write_module.replace_file

    def wait(path, write):
        assert event.wait(10)
        replace_file(path, write)

    monkeypatch.setattr(write_module, 'replace_file', wait)
    return event


def test_training_goes_on_while_the_state_as_it_was_is_written(tmp_path, gate, state):
    writer, live, done = BackgroundWriter(), state(1.0), []
    with writer.collect():
        save(tmp_path / 'a.pth', live)
    writer.start(lambda: done.append((tmp_path / 'a.pth').is_file()))
    live['state_dict']['weight'].fill_(9.0)
    assert not (tmp_path / 'a.pth').exists()
    gate.set()
    writer.join()
    assert done == [True]
    assert load(tmp_path / 'a.pth')['state_dict']['weight'][0, 0] == 1


def test_writes_come_one_after_the_other(tmp_path, state):
    writer = BackgroundWriter()
    for number in range(3):
        with writer.collect():
            save(tmp_path / 'a.pth', state(float(number)))
        writer.start(lambda: None)
    writer.join()
    assert load(tmp_path / 'a.pth')['state_dict']['weight'][0, 0] == 2


def test_an_error_surfaces_in_the_training_and_what_follows_is_left_undone(tmp_path, state):
    (tmp_path / 'file').write_text('')
    writer, done = BackgroundWriter(), []
    with writer.collect():
        save(tmp_path / 'file' / 'a.pth', state())
    writer.start(lambda: done.append(True))
    with pytest.raises(CheckpointWriteError, match='not written'):
        writer.join()
    assert done == []
    writer.join()


def test_tied_weights_are_copied_once(tmp_path):
    shared = torch.zeros(1000)
    writer = BackgroundWriter()
    with writer.collect():
        save(tmp_path / 'a.pth', dict(meta={}, state_dict=dict(a=shared, b=shared)))
    writer.start(lambda: None)
    writer.join()
    assert (tmp_path / 'a.pth').stat().st_size < 8000
